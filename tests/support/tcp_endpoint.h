// One tcp::Connection with a host made of plain memory, for tests: what it sends is kept as values, what it delivers is a string
// of bytes, and the host's side of the contract is checked (every placed descriptor comes back once and whole; completions never
// exceed what was sent).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tcp/connection.h"

namespace ferry::tcp::testing {

// A segment on its way, owning its payload.
struct Wire {
  SeqNum seq, ack;
  uint8_t flags = 0;
  uint16_t window = 0, urgent_pointer = 0;
  Options options;
  std::string payload;
  uint16_t mss = 0;       // of the sender's segmentation
  uint16_t gso_size = 0;

  InputSegment input() const;
  bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

// The packets that a link makes of a super-segment: at most `mss` bytes each; FIN and PSH on the last only.
std::vector<Wire> segmented(const Wire& big);
// The reverse (GRO): appends `next` to `into` if it continues it; false if it does not.
bool merge(Wire& into, const Wire& next, size_t limit = 65000);

class TcpEndpoint : public Host {
 public:
  explicit TcpEndpoint(const Setup& setup = {}) { reset(setup); }
  virtual ~TcpEndpoint() { drop(); }

  Connection& operator*() { return *connection_; }
  Connection* operator->() { return connection_.get(); }
  void reset(const Setup& setup);
  // Destroys the connection as a crash would; memory, and what was delivered, stays.
  void drop();
  // A new connection from a record; resumes it.
  Status revive(Instant now, const std::vector<std::byte>& record);
  std::vector<std::byte> save();

  // Puts `bytes` into output memory and queues them.
  Status send(Instant now, const std::string& bytes, Connection::SendFlags flags = {});
  void receive(Instant now, const Wire& segment) { connection_->on_segment(now, segment.input()); }

  std::deque<Wire> sent;        // emitted, oldest first
  std::string received;         // delivered, all of it
  uint32_t events = 0;          // since the test last cleared it
  uint32_t all_events = 0;
  uint64_t completed = 0;       // bytes
  uint64_t queued = 0;          // bytes that send() took
  uint32_t deadline_changes = 0;
  uint64_t place_limit = UINT64_MAX;  // bytes held at most; beyond it place() refuses
  uint64_t place_piece = UINT64_MAX;  // bytes placed at once at most
  uint64_t held = 0;            // bytes placed, neither delivered nor discarded
  uint64_t discarded = 0;
  std::string contract_error;   // empty: kept

  bool saw(Event e) const { return (all_events & static_cast<uint32_t>(e)) != 0; }

  void emit(Connection& c, const OutputSegment& segment) override;
  Result<buf::IoDesc> place(Connection& c, ByteSpan payload) override;
  void discard(Connection& c, const buf::IoDesc& d) override;
  void deliver(Connection& c, const buf::IoDesc& d) override;
  void on_completed(Connection& c, uint32_t bytes) override;
  void on_events(Connection& c, uint32_t events) override;
  void on_deadline_changed(Connection& c) override;

 private:
  static constexpr buf::RegionId kOutput = 1, kInput = 2;
  bool take_placed(const buf::IoDesc& d, std::string& bytes);

  Setup setup_;
  std::unique_ptr<Connection> connection_;
  std::string output_;                       // everything ever sent; offsets are stream positions
  std::map<uint64_t, std::string> placed_;   // by offset
  uint64_t next_placement_ = 0;
};

}  // namespace ferry::tcp::testing
