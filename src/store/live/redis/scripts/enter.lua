-- Begins a turn of a writer. KEYS: the writer, since when there is anything. ARGV: how long each is kept.
-- What needs room comes after what needs none: a script that has written may go on in a full store.
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], string.format('%.0f', now), 'NX')
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local turn = redis.call('HINCRBY', KEYS[1], 't', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {turn, tonumber(redis.call('HGET', KEYS[1], 'b') or 0), string.format('%.0f', now)}
