-- A page of what has not ended, in the order of when it ends. KEYS: the sorted set, and perhaps the hash of its values. ARGV:
-- after which score and name, how many entries and octets at most. Gives the time, whether there is more, then each name,
-- score and value.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
-- By octets: what Lua calls greater depends on the server's locale, the order of a sorted set does not.
local function follows(name, other)
  for n = 1, math.min(#name, #other) do
    local a, b = string.byte(name, n), string.byte(other, n)
    if a ~= b then return a > b end
  end
  return #name > #other
end
local least = math.max(now + 1, tonumber(ARGV[1]))
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local page, offset, count = {text(now), 0}, 0, 0
while true do
  local found = redis.call('ZRANGEBYSCORE', KEYS[1], text(least), '+inf', 'WITHSCORES', 'LIMIT', offset, most)
  if #found == 0 then return page end
  for n = 1, #found, 2 do
    local name, score = found[n], found[n + 1]
    if tonumber(score) > tonumber(ARGV[1]) or follows(name, ARGV[2]) then
      local value = KEYS[2] and redis.call('HGET', KEYS[2], name) or ''
      if count == most or (count > 0 and #value > room) then
        page[2] = 1
        return page
      end
      count, room = count + 1, room - #value
      page[#page + 1], page[#page + 2], page[#page + 3] = name, text(tonumber(score)), value
    end
  end
  offset = offset + most
end
