// Initial sequence numbers (RFC 6528 section 3) and timestamp offsets (RFC 7323 section 5.4), both keyed hashes of the addresses.
#pragma once

#include "base/rng.h"
#include "base/time.h"
#include "tcp/segment.h"
#include "wire/address.h"

namespace ferry::tcp {

// M + F(local, remote, key), where M ticks every 4 microseconds.
SeqNum initial_sequence(Instant now, const SipKey& key, const wire::Endpoint& local, const wire::Endpoint& remote);

// The same for every port of a pair of hosts, so that a reused port continues its clock (RFC 6191).
uint32_t timestamp_offset(const SipKey& key, const wire::IpAddress& local, const wire::IpAddress& remote);

}  // namespace ferry::tcp
