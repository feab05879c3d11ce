--- libevent.httpdate: dates as HTTP writes them (RFC 9110, 5.6.7).
---
--- All of it is arithmetic: neither the locale nor the time zone has a say.

local expect = require "libevent.expect"

---@class libevent.httpdate
local httpdate = {}

local DAYS = {[0] = "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday",
              "Friday", "Saturday"}
local MONTHS = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
                "Oct", "Nov", "Dec"}
local NUMBERS = {}
for number, month in ipairs(MONTHS) do NUMBERS[month] = number end

local YEAR0, YEAR10000 = -62167219200, 253402300800
local DAY = 24 * 60 * 60

-- {==== Days ====

-- Years begin in March here, so that the day that comes and goes is their
-- last one; 400 of them have 146097 days, and 719468 days after the first of
-- March of the year 0 it is 1970.

--- The number of a day, 0 for the first of 1970.
local function daynumber(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  return year * 365 + year // 4 - year // 100 + year // 400
         + (153 * (month - 3) + 2) // 5 + day - 1 - 719468
end

--- Year, month and day of such a number.
local function civil(number)
  number = number + 719468
  local era, day = number // 146097, number % 146097
  local year = (day - day // 1460 + day // 36524 - day // 146096) // 365
  day = day - (year * 365 + year // 4 - year // 100)
  local month = (5 * day + 2) // 153
  day = day - (153 * month + 2) // 5 + 1
  year = year + 400 * era
  if month < 10 then return year, month + 3, day end
  return year + 1, month - 9, day
end

local function weekday(number)
  return DAYS[(number + 4) % 7]
end

-- ====}

--- Raises unless argument n is a time that has a date; now if it is nil.
local function checktime(time, n, name)
  if time == nil then return os.time() end
  if type(time) ~= "number" or not (time >= YEAR0 and time < YEAR10000) then
    local got = type(time) == "number" and time or type(time)
    error(("bad argument #%d to '%s' (time of the years 0 to 9999 expected, "
           .. "got %s)"):format(n, name, got), 3)
  end
  return math.floor(time)
end

--- A date for a header, "Sun, 06 Nov 1994 08:49:37 GMT"; the same as
--- `libevent.date_rfc1123`.
---
--- C: `evutil_date_rfc1123`
---@param time? number seconds since 1970, years 0 to 9999; now if nil
---@return string date
function httpdate.date(time)
  time = checktime(time, 1, "date")
  local number, second = time // DAY, time % DAY
  local year, month, day = civil(number)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(
    weekday(number):sub(1, 3), day, MONTHS[month], year,
    second // 3600, second // 60 % 60, second % 60)
end

local CLOCK = "(%d%d):(%d%d):(%d%d)"
local FIXDATE = "^(%a+), (%d%d) (%a+) (%d%d%d%d) " .. CLOCK .. " GMT$"
local RFC850 = "^(%a+), (%d%d)%-(%a+)%-(%d%d) " .. CLOCK .. " GMT$"
local ASCTIME = "^(%a+) (%a+) ([ %d]%d) " .. CLOCK .. " (%d%d%d%d)$"

--- Of the years that end with these digits the last one in which 'timein' is
--- at most 50 years after 'now'.
local function fullyear(digits, timein, now)
  local number = now // DAY
  local year, month, day = civil(number)
  local limit = daynumber(year + 50, month, day) * DAY + now % DAY
  local found = year + 50 - (year + 50 - digits) % 100
  return timein(found) <= limit and found or found - 100
end

--- The time that a date names, in one of the three forms of HTTP: "Sun, 06 Nov
--- 1994 08:49:37 GMT", which everybody writes today, "Sunday, 06-Nov-94
--- 08:49:37 GMT" and "Sun Nov  6 08:49:37 1994". nil for anything else: another
--- time zone, the 30th of February, a day of the week that it was not. A year
--- of two digits is one that is at most 50 years ahead. A second 60 is the
--- first one of the next minute. `http.date` can write whatever comes out.
---
--- C: none
---@param s? string nil, for a header that is not there, is no date either
---@param now? number seconds since 1970, for years of two digits; now if nil
---@return integer|nil time seconds since 1970
function httpdate.parse_date(s, now)
  if s == nil then return nil end
  s = expect.text(s, 1, "parse_date")
  now = checktime(now, 2, "parse_date")
  local name, day, month, year, hour, minute, second = s:match(FIXDATE)
  local short = not name
  if short then
    name, day, month, year, hour, minute, second = s:match(RFC850)
  end
  if not name then
    name, month, day, hour, minute, second, year = s:match(ASCTIME)
    short = false
  end
  month = NUMBERS[month or ""]
  if not month then return nil end
  day, year = tonumber(day), tonumber(year)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if hour > 23 or minute > 59 or second > 60 then return nil end
  local function timein(y)
    return daynumber(y, month, day) * DAY + hour * 3600 + minute * 60 + second
  end
  if short then year = fullyear(year, timein, now) end
  local number = daynumber(year, month, day)
  local _, real = civil(number)
  if real ~= month then return nil end      -- it has no such day
  local known = weekday(number)
  if name ~= (short and known or known:sub(1, 3)) then return nil end
  local time = timein(year)
  return time >= YEAR0 and time < YEAR10000 and time or nil
end

return httpdate
