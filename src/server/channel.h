// One engine's part of a channel (ipc/abi.h): the slot table, the input pool, doorbells.
//
// Owns: its share of the mapping (channel_memory.h) and its region number; which socket sits in which slot. Does not own: sockets, the
// client's control connection (client.h). A channel outlives its client for as long as the stack or a socket refers to its memory.
//
// Trust: the client writes anything anywhere in the mapping at any time. Every word is loaded once, checked, and the copy used.
#pragma once

#include <memory>
#include <vector>

#include "base/list.h"
#include "base/time.h"
#include "ipc/doorbell.h"
#include "server/channel_memory.h"
#include "server/client_regions.h"
#include "server/context.h"
#include "server/input_pool.h"
#include "server/stock.h"
#include "server/unique_fd.h"

namespace ferry::server {

class Client;
class PeerRegion;
class Socket;

class Channel final : public PollHandler, public ListNode<HotTag> {
 public:
  using Identity = ChannelMemory::Identity;
  // `kick`: an eventfd whose other end the client has. Errc::too_many.
  static Result<std::unique_ptr<Channel>> create(Context& context, std::shared_ptr<ChannelMemory> memory, UniqueFd kick);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  const std::shared_ptr<ChannelMemory>& memory() const { return memory_; }
  buf::RegionId region() const { return region_; }
  const Identity& identity() const { return memory_->identity(); }

  // --- slots ---
  static constexpr uint32_t kNoSlot = UINT32_MAX;
  // Puts the socket into a free slot: generation raised, both sides' words zero. kNoSlot when all are taken.
  uint32_t assign(Socket& socket);
  // Marks the slot free for the client (kModeFree) and for the next socket.
  void unassign(uint32_t slot);
  Socket* socket_at(uint32_t slot) { return slot - first_slot_ < slots_.size() ? slots_[slot - first_slot_].socket : nullptr; }
  // The socket in the slot if the generation is the present one.
  Socket* find(uint32_t slot, uint32_t generation);
  uint32_t generation(uint32_t slot) const { return slots_[slot - first_slot_].generation; }
  ipc::abi::SocketShared& shared(uint32_t slot) { return map().socket(slot); }
  Stock& stock() { return stock_; }
  ipc::abi::SpareRing& spares(uint32_t kind) { return map().header().spares[engine_][kind]; }
  uint32_t socket_count() const { return used_slots_; }
  template <typename Visit>
  void for_each_socket(Visit visit) {
    for (auto& s : slots_)
      if (s.socket != nullptr) visit(*s.socket);
  }

  // Where descriptors of the client may point.
  const ipc::PoolArea& output_area() const { return map().layout().output; }
  const std::byte* at(uint64_t offset) const { return map().base() + offset; }

  // Memory that the client lets its output be referred to in; see client_regions.h.
  Status add_region(uint32_t number, int memfd, uint64_t most) { return regions_.add(number, memfd, most, this); }
  Status forget_region(uint32_t number);
  // All of them, as soon as nothing refers to any: the client is gone, and what it has written has been taken.
  void forget_regions();
  const ClientRegions& regions() const { return regions_; }
  // The bytes that a (copied) output descriptor names. Region 0 is empty if it leaves the output pool.
  buf::IoDesc locate_output(const ipc::abi::Descriptor& d) const;
  uint64_t region_bytes() const { return regions_.mapped_bytes(); }

  // --- input: memory that this client reads; `alignment` is a power of two ---
  Result<buf::IoDesc> place(uint32_t length, uint32_t alignment = 1);
  // Input goes to lent memory: its region stays until the bytes are released.
  void hold_lent(const buf::IoDesc& d) { lent_input_ += d.length; }
  // Of place() and hold_lent().
  void release(const buf::IoDesc& d);
  uint64_t input_used() const { return input_.used_bytes() + lent_input_; }
  // What descriptors of input call the region: 0 the pool, or a number of the client's. kNoRegion: the client cannot read it.
  static constexpr uint16_t kNoRegion = UINT16_MAX;
  uint16_t region_number(buf::RegionId region) const;

  // --- doorbells ---
  // Calls ring(slot) for every slot whose bit is set; slots without a socket are for the callee to skip. Returns how many.
  template <typename Ring>
  uint32_t take_doorbells(Ring&& ring) {
    return ipc::take_slots(map().header().doorbell[engine_], first_slot_ + static_cast<uint32_t>(slots_.size()), ring);
  }
  // Tells every socket whose bell was rung. Returns how many.
  uint32_t answer_doorbells();

  // --- sleeping: see ChannelHeader::server_idle ---
  // Tells the client that it must kick. False: a doorbell was rung meanwhile and the client does not have to.
  bool go_cold();
  // It is going to have something for us soon: no kicks from now on.
  void go_hot();
  // A kick.
  void on_poll(uint32_t events) override;

  // --- waking the client ---
  void wake_queue(uint32_t queue);
  // Tells the client that the slot's words have changed: threads that block on it, and queues that watch it.
  void signal(uint32_t slot);

  // --- regions with other clients: see peers.h ---
  void allow_peers() { peers_allowed_ = true; }
  void forbid_peers() { peers_allowed_ = false; }
  bool peers_allowed() const { return peers_allowed_; }
  PeerRegion* peer_region(uint32_t number) const { return peer_regions_[number]; }
  void set_peer_region(uint32_t number, PeerRegion* region) { peer_regions_[number] = region; }

  // --- life ---
  void set_client(Client* client) { client_ = client; }
  void client_gone();
  Client* client() { return client_; }
  bool client_alive() const { return client_ != nullptr; }
  void add_output_reference(uint64_t bytes) { output_references_ += bytes; }
  void drop_output_reference(uint64_t bytes);
  // Nothing can refer to the mapping any more.
  bool unreferenced() const {
    return client_ == nullptr && used_slots_ == 0 && output_references_ == 0 && input_used() == 0;
  }

  // --- kept by the engine ---
  Instant last_active;         // when a doorbell was last seen
  bool reclaimed_this_turn = false;
  bool condemned = false;

 private:
  struct Slot {
    Socket* socket = nullptr;
    uint32_t generation = 0;
  };
  Channel(Context& context, std::shared_ptr<ChannelMemory> memory, UniqueFd kick);
  const ipc::ChannelMap& map() const { return memory_->map(); }
  void look_at_held_slots();
  void release_forgotten_regions();

  Context& ctx_;
  const uint32_t engine_;
  std::shared_ptr<ChannelMemory> memory_;
  const uint32_t first_slot_;
  UniqueFd kick_;
  buf::RegionId region_;
  InputPool input_;
  ClientRegions regions_;
  std::vector<Slot> slots_;    // from first_slot_ on; grows to the highest used
  std::vector<uint32_t> free_slots_;
  std::vector<uint32_t> held_slots_;  // free, but for a thread of the client that is in a ring of its still
  uint32_t used_slots_ = 0;
  uint64_t output_references_ = 0;
  bool needs_no_regions_ = false;
  uint64_t lent_input_ = 0;    // bytes of input in the client's regions
  Client* client_ = nullptr;
  Stock stock_;
  PeerRegion* peer_regions_[ipc::abi::kMaxPeerRegions] = {};
  bool peers_allowed_ = false;
};

}  // namespace ferry::server
