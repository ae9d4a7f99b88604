-- Take an offer off the list of all offers if its ledger has no job. It is listed again when a job is entered.
-- Return 1 if it was on the list, else 0.
local ledger, offers = unpack(KEYS)
local offer = unpack(ARGV)

if redis.call('EXISTS', ledger) == 1 then return 0 end
return redis.call('SREM', offers, offer)
