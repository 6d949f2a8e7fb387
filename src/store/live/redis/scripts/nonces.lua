-- The nonces' secret. KEYS: where it is. ARGV: one that is known, a fresh one, how old one may be.
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 4)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local was = redis.call('HMGET', KEYS[1], 'c', 'p', 's')
local current, previous, since = was[1], was[2], tonumber(was[3] or 0)
if not current then
  current, since = ARGV[1] ~= '' and ARGV[1] or ARGV[2], now
elseif now - since >= tonumber(ARGV[3]) then
  previous, current, since = current, ARGV[2], now
end
redis.call('HSET', KEYS[1], 'c', current, 's', text(since))
if previous then redis.call('HSET', KEYS[1], 'p', previous) end
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 4)
return {current, previous or '', ARGV[3] - (now - since)}
