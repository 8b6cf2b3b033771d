# What the chart expects of the official PostgreSQL image, on the same base as the project's images.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/* \
    && usermod --uid 999 postgres && groupmod --gid 999 postgres
COPY postgres-entrypoint.sh /entrypoint.sh
ENV PGDATA=/var/lib/postgresql/data
USER 999:999
ENTRYPOINT ["sh", "/entrypoint.sh"]
CMD ["postgres"]
