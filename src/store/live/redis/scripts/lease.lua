-- A lease. KEYS: the lease, since when there is anything. ARGV: what is wanted, by whom, an epoch, for how long, the grace,
-- how long an epoch is remembered.
redis.call('PEXPIRE', KEYS[1], ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local verb, me, mine, lasts, grace = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local was = redis.call('HMGET', KEYS[1], 'e', 'h', 'u')
local epoch, holder, ends = tonumber(was[1] or 0), was[2] or '', tonumber(was[3] or 0)

local function hold(with)
  redis.call('HSET', KEYS[1], 'e', text(with), 'h', me, 'u', text(now + lasts))
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end

if verb == 'acquire' then
  if ends > now and holder ~= me then return {'theirs', holder, text(epoch), ends - now} end
  if not was[1] and grace > 0 then
    redis.call('SET', KEYS[2], text(now), 'NX')
    redis.call('PEXPIRE', KEYS[2], ARGV[6])
    local age = now - tonumber(redis.call('GET', KEYS[2]))
    if age < grace then return {'young', grace - age} end
  end
  local with = math.max(epoch, mine) + 1
  hold(with)
  return {'ours', text(with)}
end
if epoch > mine or (epoch == mine and holder ~= me) then return {'lost', holder, text(epoch)} end
if verb == 'renew' then
  hold(mine)
else
  lasts = 0
  hold(mine)
end
return {'ours', text(mine)}
