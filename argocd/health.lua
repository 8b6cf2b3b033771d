-- Health of an AutoGLMStudy or AutoGLMEndpoint for Argo CD. docs/reference/conditions.md has the table that this
-- follows, and a test that holds both together. Argo CD gives scripts Lua's base and table functions only.
local conditions = {}
local status = obj.status or {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind, value)
  return conditions[kind] ~= nil and conditions[kind].status == value
end

local function health(word, kind)
  local condition = conditions[kind]
  return { status = word, message = condition.reason .. ": " .. (condition.message or "") }
end

local function progressing(message)
  return { status = "Progressing", message = message }
end

if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return progressing("waiting for the operator to see this generation")
end
if obj.metadata.deletionTimestamp ~= nil then
  return progressing("being deleted")
end
if is("Failed", "True") then
  return health("Degraded", "Failed")
end
if is("Stalled", "True") then
  return health("Degraded", "Stalled")
end

-- What only an edit or somebody's repair can change is not on its way to anything.
local broken = { InvalidSpec = true, SpecChanged = true, StorageLost = true }
if is("Ready", "False") and broken[conditions.Ready.reason] then
  return health("Degraded", "Ready")
end
if is("Suspended", "True") then
  return health("Suspended", "Suspended")
end

-- A running study is healthy, so that a sync wave does not wait for hours, unless it is told to.
local annotations = obj.metadata.annotations or {}
if annotations["autoglm.io/argocd-health"] == "Complete" and is("Complete", "False") then
  return progressing((status.phase or "") .. " " .. (status.progress or ""))
end
if is("Ready", "True") then
  if is("RolledBack", "True") then
    return health("Healthy", "RolledBack")
  end
  return health("Healthy", "Ready")
end
if conditions.Ready ~= nil then
  return health("Progressing", "Ready")
end
return progressing("waiting for the operator")
