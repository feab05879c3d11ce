--- libevent.html: text into pages.

local expect = require "libevent.expect"

---@class libevent.html
local html = {}

local ENTITIES = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
                  ['"'] = "&quot;", ["'"] = "&#039;"}

--- Makes a text harmless where HTML stands: between tags, and between the
--- quotes of an attribute. Not so in scripts, styles, URLs and comments.
---
--- C: `evhttp_htmlescape`
---@param s string
---@return string escaped
function html.htmlescape(s)
  return (expect.text(s, 1, "htmlescape"):gsub("[&<>\"']", ENTITIES))
end

return html
