--- copas: that of Lua 5.4 if there is one. Debian's is installed for Lua 5.1
--- and 5.2 only; all of it is Lua, and runs on 5.4 as well.

package.path = package.path .. ";/usr/share/lua/5.2/?.lua"

return require "copas"
