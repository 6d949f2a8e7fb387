-- Applies a batch of changes. KEYS[1]: the writer; further ones as each change takes them. ARGV: the turn, whether anything
-- needs room, how long the writer is remembered, when it is too late, then each change as its name and its arguments.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HGET', KEYS[1], 't') ~= ARGV[1] then return {'superseded', 0, 0} end
-- What lay about in a connection would stand for longer than was said.
if now > tonumber(ARGV[4]) then return {'late', 0, 0} end

-- In a full store the first write that needs room fails, and with it the whole; after one that needs none, all may go on.
if ARGV[2] == '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
local batches = redis.call('HINCRBY', KEYS[1], 'b', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])

local at, keyed = 4, 1
local function arg() at = at + 1; return ARGV[at] end
local function key() keyed = keyed + 1; return KEYS[keyed] end
local function text(number) return string.format('%.0f', number) end

-- A sorted set by the time at which each entry ends: what has ended goes, and the set with the last of them.
local function tidy(times, hash)
  local gone = redis.call('ZRANGEBYSCORE', times, '-inf', text(now), 'LIMIT', 0, 64)
  if #gone > 0 then
    redis.call('ZREM', times, unpack(gone))
    if hash then redis.call('HDEL', hash, unpack(gone)) end
  end
end
local function close(times, hash)
  local last = redis.call('ZREVRANGE', times, 0, 0, 'WITHSCORES')[2]
  if not last then return nil end
  redis.call('PEXPIREAT', times, text(tonumber(last)))
  if hash then redis.call('PEXPIREAT', hash, text(tonumber(last))) end
  return last
end
local function list(times, name, ends)
  tidy(times)
  redis.call('ZADD', times, text(ends), name)
  close(times)
end

local function fenced(record, owner, epoch)
  local was = redis.call('HMGET', record, 'e', 'o', 'x')
  local high = tonumber(was[1] or -1)
  if high > epoch or (high == epoch and (was[2] ~= owner or was[3])) then return {'fenced', was[2], high} end
end

local apply = {}

-- An entry of a board: a hash of values, a sorted set of when they end, and perhaps a list of boards.
function apply.put()
  local hash, times, boards = key(), key(), key()
  local board, field, lasts, place, series, value, most = arg(), arg(), arg(), arg(), arg(), arg(), arg()
  tidy(times, hash)
  local ends = tonumber(redis.call('ZSCORE', times, field) or 0)
  if ends > now then
    local was, of = string.match(redis.call('HGET', hash, field) or '', '^(%d+) (%S+) ')
    if of == series and tonumber(was) > tonumber(place) then return {'older'} end
  elseif redis.call('ZCOUNT', times, '(' .. text(now), '+inf') >= tonumber(most) then
    return {'many'}
  end
  redis.call('HSET', hash, field, value)
  redis.call('ZADD', times, text(now + lasts), field)
  local last = close(times, hash)
  if board ~= '' then list(boards, board, tonumber(last)) end
  return {'done'}
end

function apply.drop()
  local hash, times, boards = key(), key(), key()
  local board, field, owner = arg(), arg(), arg()
  local value = redis.call('HGET', hash, field)
  if not value then return {'done'} end
  local _, _, of = string.find(value, '^%d+ %S+ (%S+) ')
  if owner ~= '' and of ~= owner then return {'older'} end
  redis.call('HDEL', hash, field)
  redis.call('ZREM', times, field)
  if not close(times, hash) and board ~= '' then redis.call('ZREM', boards, board) end
  return {'done'}
end

function apply.call()
  local record, index, owners = key(), key(), key()
  local id, owner, epoch, lasts, body = arg(), arg(), arg(), arg(), arg()
  local no = fenced(record, owner, tonumber(epoch))
  if no then
    if no[2] ~= owner then redis.call('ZREM', index, id) end
    return no
  end
  redis.call('HDEL', record, 'x')
  redis.call('HSET', record, 'e', epoch, 'o', owner, 'b', body)
  redis.call('PEXPIRE', record, lasts)
  list(index, id, now + lasts)
  list(owners, owner, tonumber(redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2]))
  return {'done'}
end

function apply.over()
  local record, index = key(), key()
  local id, owner, epoch, kept = arg(), arg(), arg(), arg()
  local no = fenced(record, owner, tonumber(epoch))
  if no and no[2] == owner and no[3] == tonumber(epoch) then return {'done'} end
  if not no or no[2] ~= owner then redis.call('ZREM', index, id) end
  if no then return no end
  redis.call('DEL', record)
  redis.call('HSET', record, 'e', epoch, 'o', owner, 'x', '1')
  redis.call('PEXPIRE', record, kept)
  return {'done'}
end

-- Whether it is there already was asked before, so that it need not be sent.
function apply.keep()
  redis.call('SET', key(), ARGV[at + 2], 'PX', ARGV[at + 1])
  at = at + 2
  return {'done'}
end

local results = {'taken', batches, text(now)}
while at < #ARGV do
  results[#results + 1] = apply[arg()]()
end
return results
