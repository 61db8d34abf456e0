//! The scripts that run in Redis, each as one step that nothing interrupts, and their names there.
//!
//! docs/cluster.md says what each does. They need the keys of one prefix on one server, so a Redis Cluster cannot run
//! them. Their arguments are octets; numbers are text.

use redis::Value;

use super::client::Link;

/// Stores records, each if the current one is the expected one, with one entry in the stream for all of them.
/// KEYS: stream, epoch, records. ARGV: epoch, length of the stream, and for each record: expected, milliseconds to live,
/// address, octets.
/// Answers with the number of the change (empty if nothing was stored), and for each record that was not stored its place
/// (from 1) and the current value; or with `epoch`.
///
/// An absent record is taken for the expected one: it has expired, or there never was one. If Redis had lost it, the epoch
/// would differ. One number serves all records, since the versions of one record only have to rise.
pub(super) const COMMIT: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 'epoch' end
local answer, entry, stored = { '' }, {}, {}
for at = 1, #KEYS - 2 do
    local version = string.match(redis.call('GETRANGE', KEYS[at + 2], 0, 40), '^(%d+%-%d+) ')
    if version and version ~= ARGV[4 * at - 1] then
        table.insert(answer, at)
        table.insert(answer, redis.call('GET', KEYS[at + 2]))
    else
        table.insert(stored, at)
        table.insert(entry, 'aor')
        table.insert(entry, ARGV[4 * at + 1])
    end
end
if not stored[1] then return answer end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(entry))
for _, at in ipairs(stored) do
    redis.call('SET', KEYS[at + 2], id .. ' ' .. ARGV[4 * at + 2], 'PX', ARGV[4 * at])
end
answer[1] = id
return answer";

/// Stores a record again that Redis has lost, with the version that it had, unless there is one of that version or later.
/// KEYS: record, stream, epoch. ARGV: epoch, version, milliseconds to live, address, octets, length of the stream. Answers 1
/// if it was stored, 0 if not.
pub(super) const RESTORE: &str = r"
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 'epoch' end
local old_ms, old_number = string.match(redis.call('GETRANGE', KEYS[1], 0, 40), '^(%d+)%-(%d+) ')
local ms, number = string.match(ARGV[2], '^(%d+)%-(%d+)$')
if old_ms then
    local newer = tonumber(ms) - tonumber(old_ms)
    if newer == 0 then newer = tonumber(number) - tonumber(old_number) end
    if newer <= 0 then return 0 end
end
local fields = { 'restored', ARGV[4], 'version', ARGV[2] }
local id = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], ARGV[2], unpack(fields))
if type(id) == 'table' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', unpack(fields)) end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[5], 'PX', ARGV[3])
return 1";

/// A server begins to read. Checks that Redis still has the last change that this server knows, and sets a new epoch if
/// Redis is empty or has lost that change.
/// KEYS: stream, epoch. ARGV: new epoch, the epoch known, the last change known (either may be empty), length of the stream.
/// Answers: the epoch, the number of a new entry, and whether the known change is there (1) or not (0).
pub(super) const JOIN: &str = r"
local function after(a, b)
    local a_ms, a_number = string.match(a, '^(%d+)%-(%d+)$')
    local b_ms, b_number = string.match(b, '^(%d+)%-(%d+)$')
    if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
    return tonumber(a_number) > tonumber(b_number)
end
local epoch = redis.call('GET', KEYS[2])
local known = ARGV[3]
local found, is_lost = 1, not epoch
if known ~= '' then
    found = #redis.call('XRANGE', KEYS[1], known, known)
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
    local is_trimmed = first[1] and after(first[1][1], known)
    if not first[1] and redis.call('EXISTS', KEYS[1]) == 1 then
        local info = redis.call('XINFO', 'STREAM', KEYS[1])
        for at = 1, #info, 2 do
            if info[at] == 'last-generated-id' then is_trimmed = not after(known, info[at + 1]) end
        end
    end
    if found == 0 and not is_trimmed and epoch == ARGV[2] then is_lost = true end
end
if is_lost then
    epoch = ARGV[1]
    redis.call('SET', KEYS[2], epoch)
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'epoch', epoch)
if known ~= '' and not after(id, known) then
    local ms, number = string.match(known, '^(%d+)%-(%d+)$')
    id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], ms .. '-' .. string.format('%d', tonumber(number) + 1), 'epoch', epoch)
end
return { epoch, id, found }";

/// Takes or renews the lease of a server, and lists the servers that are alive.
/// KEYS: numbers, runs, last number, stream. ARGV: name, advertise, run (0 = none yet), number known (0 = none), lease in
/// milliseconds, epoch that it has filled, prefix of the keys of nodes, length of the stream.
/// Answers: number, run, 1 if it holds the lease (0 = another process with its name does), and for each living server its
/// number, name, advertise, run, epoch.
pub(super) const LEASE: &str = r"
local name, run, number = ARGV[1], tonumber(ARGV[3]), tonumber(redis.call('HGET', KEYS[1], ARGV[1]))
if not number then
    number = tonumber(ARGV[4])
    for _, other in ipairs(redis.call('HVALS', KEYS[1])) do
        if tonumber(other) == number then number = 0 end
    end
    local last = tonumber(redis.call('GET', KEYS[3]) or 0)
    if number == 0 then number = last + 1 end
    if number > 65535 then return redis.error_reply('there are 65535 names of nodes: remove those that are gone') end
    if number > last then redis.call('SET', KEYS[3], number) end
    redis.call('HSET', KEYS[1], name, number)
end
local key = ARGV[7] .. number
local holder = tonumber(redis.call('HGET', key, 'run'))
local is_mine = not holder or holder == run
if is_mine then
    if run == 0 then
        run = math.max(tonumber(redis.call('HGET', KEYS[2], name) or 0) + 1, tonumber(redis.call('TIME')[1]))
    end
    redis.call('HSET', KEYS[2], name, run)
    redis.call('HSET', key, 'name', name, 'advertise', ARGV[2], 'run', run, 'epoch', ARGV[6])
    redis.call('PEXPIRE', key, ARGV[5])
    if not holder then redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[8], '*', 'node', number) end
end
local answer = { number, run, is_mine and 1 or 0 }
for _, other in ipairs(redis.call('HVALS', KEYS[1])) do
    local node = redis.call('HMGET', ARGV[7] .. other, 'name', 'advertise', 'run', 'epoch')
    if node[1] then table.insert(answer, { tonumber(other), node[1], node[2], tonumber(node[3]), node[4] }) end
end
return answer";

/// Gives up the lease of a server. KEYS: its key, stream. ARGV: run, length of the stream, number.
pub(super) const LEAVE: &str = r"
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'node', ARGV[3])
return 1";

/// Sets a value, if the current one is `expected` (empty = there is none, `*` = any that is older than `version`).
/// KEYS: values, stream. ARGV: name, expected, octets, length of the stream, version to restore or empty, maximum of values.
/// Answers with its version; or with an array of the current value, if it is another one.
pub(super) const PUT: &str = r"
local function parts(id) return string.match(id or '', '^(%d+)%-(%d+)') end
local old = redis.call('HGET', KEYS[1], ARGV[1])
local version = old and string.match(old, '^(%d+%-%d+) ')
if ARGV[2] == '*' then
    local ms, number = parts(ARGV[5])
    local old_ms, old_number = parts(version)
    if old_ms and (tonumber(old_ms) > tonumber(ms) or old_ms == ms and tonumber(old_number) >= tonumber(number)) then
        return { old }
    end
elseif (version or '') ~= ARGV[2] then
    return { old or '' }
end
if not old and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[6]) then return 'full' end
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'value', ARGV[1])
if ARGV[2] == '*' then id = ARGV[5] end
redis.call('HSET', KEYS[1], ARGV[1], id .. ' ' .. ARGV[3])
return id";

/// Loads a script that is called often, and returns its name: a hash that Redis computes.
pub(super) fn load(link: &mut Link, script: &str) -> Result<Vec<u8>, redis::RedisError> {
    let mut command = redis::cmd("SCRIPT");
    command.arg("LOAD").arg(script);
    match link.one(command)? {
        Value::BulkString(name) => Ok(name),
        _ => Err((redis::ErrorKind::UnexpectedReturnType, "SCRIPT LOAD").into()),
    }
}

/// Calls a script that is sent whole.
pub(super) fn call(link: &mut Link, script: &str, keys: &[&[u8]], args: &[&[u8]]) -> Result<Value, redis::RedisError> {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len());
    keys.iter().chain(args).for_each(|part| {
        command.arg(*part);
    });
    link.one(command)
}
