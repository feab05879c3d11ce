--- curl, a client that is not ours, for the specs of HTTP servers.

local process = require "spec.process"
local t = require "spec.helper"

-- The sanitizers are not its own.
local PLAIN = "env -u LD_PRELOAD "

--- Runs it; the arguments are words of a shell, within which ' cannot stand.
--- Returns the status (0: no answer), the header fields by their names in
--- lower case, the body, and what 'write' (of -w) says.
local function curl(arguments, write)
  local head, body = os.tmpname(), os.tmpname()
  local text = process.shell(([[%scurl -sS --path-as-is -D %s -o %s -w ]]
    .. [["status %%{http_code} %s" %s]]):format(PLAIN, head, body, write or "",
                                                arguments))
  local headers, lines = {}, t.contents(head)
  for name, value in lines:gmatch "([^\r\n]-): ([^\r\n]*)\r\n" do
    headers[name:lower()] = value
  end
  local content = t.contents(body)
  if content == lines then content = "" end             -- as -I has it
  os.remove(head)
  os.remove(body)
  local status, rest = text:match "status (%d+) (.*)$"
  return tonumber(status), headers, content, rest
end

return curl
