--- The protocol of scripted_server.c: change it, then kill -HUP the server.

local base = ...
local lines = 0
local began = os.time()

--- What the script puts on the server's base goes with its state.
base:timer(function()
  print(("%d lines in %d seconds"):format(lines, os.time() - began))
end, "persist"):add(60)

local commands = {}

function commands.echo(text) return text end
function commands.upper(text) return text:upper() end
function commands.lines() return lines end

local protocol = {}

--- The answer to a line, or nil for none.
function protocol.line(line)
  lines = lines + 1
  local command, text = line:match "^(%S+)%s*(.*)$"
  if not commands[command] then return "unknown: " .. line end
  return commands[command](text)
end

return protocol
