// Who receives what comes from one remote endpoint to one local one: connections, TIME_WAITs and connected datagram sockets,
// in one hash table keyed with SipHash, so that a peer cannot aim for one chain (Crosby and Wallach 2003).
//
// Owns: the array of chains. Does not own: the flows (each is part of a socket or of a TIME_WAIT record).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/rng.h"
#include "wire/address.h"

namespace ferry::stack {

enum class FlowKind : uint8_t { none, connection, time_wait, datagram };

struct Flow {
  wire::Endpoint local, remote;
  uint8_t protocol = 0;            // IP protocol number
  FlowKind flow_kind = FlowKind::none;
  bool hashed = false;
  uint32_t flow_hash = 0;
  Flow* chain = nullptr;           // of the table
};

class FlowTable {
 public:
  explicit FlowTable(const SipKey& key) : key_(key) {}
  ~FlowTable();
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  // Adds a flow whose endpoints are set and not in the table yet. Errc::address_in_use; no_memory (only for the first flow).
  Status insert(Flow& flow);
  // Does nothing for a flow that is not in the table.
  void erase(Flow& flow);
  Flow* find(uint8_t protocol, const wire::Endpoint& local, const wire::Endpoint& remote);
  // Leaves the cache of the last flow as it is; for queries.
  const Flow* look_up(uint8_t protocol, const wire::Endpoint& local, const wire::Endpoint& remote) const;
  // The keyed hash of a flow, also used to spread connections over listeners that share a port.
  uint32_t hash(uint8_t protocol, const wire::Endpoint& local, const wire::Endpoint& remote) const;
  uint32_t size() const { return size_; }

 private:
  void grow();
  static bool matches(const Flow& f, uint8_t protocol, const wire::Endpoint& local, const wire::Endpoint& remote) {
    return f.local.port == local.port && f.remote.port == remote.port && f.protocol == protocol &&
           f.remote.address == remote.address && f.local.address == local.address;
  }

  SipKey key_;
  Flow** chains_ = nullptr;
  uint32_t chain_count_ = 0;  // a power of two
  uint32_t size_ = 0;
  Flow* last_ = nullptr;      // found last: most packets come in runs
};

}  // namespace ferry::stack
