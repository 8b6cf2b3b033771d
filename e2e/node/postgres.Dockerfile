# What the chart expects of the official PostgreSQL image, on the same base as the project's images. Queries are not
# compiled: a hundred megabytes of LLVM stay out.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/lib/postgresql/* /usr/share/doc /usr/share/man \
        /usr/lib/*/libLLVM* /usr/lib/postgresql/*/lib/llvmjit* /usr/lib/postgresql/*/lib/bitcode \
    && usermod --uid 999 postgres && groupmod --gid 999 postgres
COPY postgres-entrypoint.sh /entrypoint.sh
ENV PGDATA=/var/lib/postgresql/data
USER 999:999
ENTRYPOINT ["sh", "/entrypoint.sh"]
CMD ["postgres"]
