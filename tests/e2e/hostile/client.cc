// hostile_client SOCKET PEER NEIGHBOUR SECONDS SEED [LISTENER]: a client that breaks every promise of the channel. It speaks the control protocol well enough to
// get sockets of all kinds, and meanwhile fills what it may write with random bytes: ring indices, descriptors, doorbells,
// event queues, locks, pool contents, the header; and sends random requests. It is not linked with libferry's client, because that
// would keep its promises. PEER is an address with a server at port 9100; NEIGHBOUR an address of ferryd's own, where a client that behaves
// echoes at port 9101: with it, it uses and breaks passages (hostile/passages.h); and it connects to itself there
// (hostile/offers.h). LISTENER: an inherited descriptor of a listener that it shares with who started it; then it asks for nothing that every
// holder may (to shut the listener down), and breaks the promises of who accepts. Ends with 0 after SECONDS; the test then looks at ferryd and at the other clients.
//
// It lives many times. In most lives it has few vices and otherwise uses its sockets as it should: whoever breaks all promises
// at once is thrown out at the first, and never gets to the checks behind. scripts/removed-checks shows that it gets there.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "hostile/offers.h"

namespace {

using namespace ferry;
using ipc::control::Op;
using Clock = std::chrono::steady_clock;

class Hostile : public hostile::Offers {
 public:
  Hostile(std::string path, uint32_t peer, uint32_t neighbour, uint64_t seed)
      : Offers(std::move(path), seed), peer_(peer), neighbour_(neighbour) {}

  // One life: connect, open, misbehave for a while, vanish without a word. False: no server.
  bool live(Clock::time_point end) {
    const long socket = ipc::connect_control(path_);
    if (socket < 0) return false;
    control_ = ipc::OwnedFd(static_cast<int>(socket));
    slots_.clear();
    region_ = 0;
    held_.clear();
    forget_offers();
    dead_ = false;
    vices_ = one_in(4) ? ~0u : 1u << below(kVices) | 1u << below(kVices);
    // Now and then a long and quiet one, in which what grows without bound would become large.
    const bool is_long = one_in(100);
    most_sockets_ = is_long ? 16 : 200;
    if (is_long) {
      vices_ = 1u << kPool;
      end = std::min(end, Clock::now() + std::chrono::seconds(5));
    }
    // Passages come to connections that last, so to a client with few of them.
    is_neighbour_ = !is_long && !is_sharing() && one_in(2);
    if (is_neighbour_) {
      vices_ = 1u << kPassages | (one_in(4) ? 1u << below(kVices) : 0);
      most_sockets_ = 1 + below(8);
    }
    if (is_sharing()) vices_ = 1u << kOffers | ((one_in(2) ? 1u << below(kVices) : 0) & ~(1u << kRequests));
    if (!is_neighbour_ && !is_sharing() && one_in(10)) return live_without_channel(end), true;
    ipc::control::Request hello;
    hello.op = static_cast<uint32_t>(Op::hello);
    hello.value = ipc::abi::kVersion;
    if (is_neighbour_ || one_in(2)) hello.flags = ipc::control::kHelloPeers;
    ipc::DescriptorList fds;
    if (!ask(hello, fds) || fds.count < 2) return true;  // refused for a quota is right
    auto map = ipc::ChannelMap::open(fds.take(0));
    kick_ = fds.take(1);
    if (!map) return true;
    map_ = std::move(*map);
    give_region();
    const uint32_t turns = 200 + below(3000);
    for (uint32_t turn = 0; (is_long || turn < turns) && !dead_ && Clock::now() < end; ++turn) misbehave();
    control_ = {};
    forget_regions();
    return true;
  }

 private:
  enum Vice : uint32_t { kRequests, kRings, kReading, kBells, kSocketWords, kAnywhere, kWatches, kFull, kPool, kRegions, kPassages, kOffers, kBusy, kVices };
  bool has(Vice v) const { return (vices_ >> v & 1) != 0; }

  // Who greets as `ferry ss` does, or not at all, has no channel that a request could be about.
  void live_without_channel(Clock::time_point end) {
    map_ = {};
    kick_ = {};
    ipc::control::Request hello;
    hello.op = static_cast<uint32_t>(Op::hello);
    hello.value = ipc::abi::kVersion;
    hello.flags = ipc::control::kHelloAdmin;
    ipc::DescriptorList fds;
    if (!one_in(4)) ask(hello, fds);
    for (uint32_t turn = below(100); turn > 0 && !dead_ && Clock::now() < end; --turn) request_something();
    control_ = {};
  }

  uint32_t own_slot() { return slots_[below(static_cast<uint32_t>(slots_.size()))]; }
  uint32_t slot() { return slots_.empty() || one_in(8) ? below(map_.layout().max_sockets | 1) : own_slot(); }

  void misbehave() {
    if (slots_.empty() || one_in(10)) open_one();
    if (!slots_.empty() && one_in(2)) {
      const uint32_t at = own_slot();
      if (!pass_properly(at, region_)) use_properly(at);
    }
    if (is_neighbour_ && one_in(8)) usleep(200);  // the other one is to have its turn
    const auto vice = static_cast<Vice>(below(kVices));
    if (has(vice) && one_in(2)) {
      switch (vice) {
        case kRequests: request_something(); break;
        case kRings: break_ring(); break;
        case kReading: lie_about_reading(); break;
        case kBells: ring_bells(); break;
        case kSocketWords: scribble_socket(); break;
        case kAnywhere: scribble_anywhere(); break;
        case kWatches: watch_nothing(); break;
        case kFull: overfill_ring(); break;
        case kRegions: misuse_region(); break;
        case kPassages: misuse_passage(slot()); break;
        case kOffers: misuse_offers(neighbour_); break;
        case kBusy: keep_busy(); break;
        default: fill_pool(); break;
      }
    }
    if (one_in(3)) kick();
  }

  // What libferry would do: send something, read something. Then the rings are in use and the connection lives when the lies come.
  void use_properly(uint32_t at) {
    auto& shared = map_.socket(at);
    const auto& output = map_.layout().output;
    const bool datagram = shared.kind == ipc::abi::kKindUdp;
    if (shared.tx_produced - __atomic_load_n(&shared.tx_taken, __ATOMIC_ACQUIRE) < ipc::abi::kRingEntries) {
      auto& d = shared.tx[shared.tx_produced % ipc::abi::kRingEntries];
      d = {output.offset + uint64_t{below(500)} * 65536, 64 + below(one_in(4) ? 60000 : 1000), 0, 0};
      if (datagram) {
        ipc::abi::DatagramHeader header{};
        header.payload_length = d.length - static_cast<uint32_t>(sizeof header);
        if (one_in(8)) header.payload_length = static_cast<uint32_t>(number());
        memcpy(map_.base() + d.offset, &header, sizeof header);
        if (one_in(8)) d.length = below(65);
        if (at % 4 == 0 || one_in(8)) d.flags = ipc::abi::kContinues;  // every fourth is a datagram that never ends
        if (at % 4 == 0 && one_in(2)) d.length = static_cast<uint32_t>(output.size / 2);
      }
      const bool messages = shared.kind == ipc::abi::kKindMessage || shared.kind == ipc::abi::kKindMessages;
      if (messages) {
        ipc::abi::MessageHeader header{};
        for (uint8_t& byte : header.control) byte = static_cast<uint8_t>(number());
        header.control_type = static_cast<uint16_t>(below(5));
        header.control_length = static_cast<uint16_t>(one_in(2) ? below(40) : number());
        header.payload_length = d.length;
        if (shared.kind == ipc::abi::kKindMessages && !one_in(3)) {  // to a peer, else to an association
          header.remote_address[10] = header.remote_address[11] = 0xff;
          memcpy(header.remote_address + 12, &peer_, sizeof peer_);
          header.remote_port = static_cast<uint16_t>(one_in(2) ? 9100 : number());
        } else {
          header.control[28] = static_cast<uint8_t>(below(12));
          header.control[29] = header.control[30] = header.control[31] = 0;
        }
        memcpy(map_.base() + d.offset, &header, sizeof header);
        if (one_in(8)) d.length = below(65);
        if (one_in(8)) d.flags = one_in(2) ? ipc::abi::kContinues : ipc::abi::kShutdown;
      }
      if (!datagram && !messages && region_ != 0 && one_in(3))
        d = {below(static_cast<uint32_t>(kRegionSize) - 70000), 64 + below(one_in(4) ? 60000 : 1000), region_, 0};
      __atomic_store_n(&shared.tx_produced, shared.tx_produced + 1, __ATOMIC_RELEASE);
    }
    const uint32_t produced = __atomic_load_n(&shared.rx_produced, __ATOMIC_ACQUIRE);
    for (uint32_t n = 0; shared.rx_consumed != produced && n < ipc::abi::kRingEntries && !one_in(4); ++n) {
      shared.rx_consumed_bytes += shared.rx[shared.rx_consumed % ipc::abi::kRingEntries].length;
      __atomic_store_n(&shared.rx_consumed, shared.rx_consumed + 1, __ATOMIC_RELEASE);
    }
    ring(at);
  }

  // A memfd as region, which is one of the kinds that are taken or one of those that are not.
  void give_region() {
    const bool good = !one_in(3);
    const uint64_t size = good ? kRegionSize : number() % (uint64_t{1} << 40);
    region_memfd_ = ipc::OwnedFd(memfd_create("hostile", MFD_ALLOW_SEALING | (!good && one_in(2) ? MFD_HUGETLB : 0)));
    if (ftruncate(region_memfd_.get(), static_cast<off_t>(size)) != 0 && good) return;
    const int seals = good ? F_SEAL_SHRINK | F_SEAL_GROW : static_cast<int>(below(16));
    fcntl(region_memfd_.get(), F_ADD_SEALS, seals);
    ipc::control::Request request;
    request.op = static_cast<uint32_t>(Op::region);
    request.value = good ? 1 + below(ipc::abi::kMaxRegions) : static_cast<uint32_t>(number());
    const int sent = region_memfd_.get();
    ipc::DescriptorList none;
    region_ = ask(request, none, &sent, 1) && good ? static_cast<uint16_t>(request.value) : uint16_t{0};
  }

  // Descriptors about the end of the region, holes under what is being sent, regions that come and go with output in them.
  // For input: good memory, some that ends or is elsewhere, positions of its own; takes it back, or says so.
  void lend_memory(ipc::abi::SocketShared& shared) {
    const bool good = !one_in(3);
    const uint64_t from = one_in(4) ? number() : __atomic_load_n(&shared.rx_consumed_bytes, __ATOMIC_RELAXED) + below(70'000);
    const uint64_t offset = good ? below(kRegionSize / 2) : number();
    shared.input[shared.input_produced % ipc::abi::kInputPieces] = {
        from, offset, good ? 1 + below(kRegionSize / 2) : static_cast<uint32_t>(number()), one_in(8) ? static_cast<uint16_t>(number()) : region_, 0};
    const bool in_turn = shared.input_produced - __atomic_load_n(&shared.input_done, __ATOMIC_ACQUIRE) < ipc::abi::kInputPieces;
    if (in_turn || one_in(8)) __atomic_store_n(&shared.input_produced, static_cast<uint16_t>(shared.input_produced + 1), __ATOMIC_RELEASE);
    if (one_in(2)) shared.input_withdrawn = one_in(4) ? static_cast<uint16_t>(number()) : shared.input_produced;
  }
  void misuse_region() {
    if (one_in(3) || region_ == 0) return give_region();
    if (one_in(2)) {
      fallocate(region_memfd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, below(kRegionSize), 1 + below(kRegionSize));
      if (ftruncate(region_memfd_.get(), below(kRegionSize)) == 0) region_ = 0;
      return;
    }
    if (one_in(4)) {
      ipc::control::Request request;
      request.op = static_cast<uint32_t>(Op::region);
      request.value = region_;
      ipc::DescriptorList none;
      ask(request, none);
      return;
    }
    if (one_in(2)) return lend_memory(map_.socket(slot()));
    auto& shared = map_.socket(slot());
    auto& d = shared.tx[shared.tx_produced % ipc::abi::kRingEntries];
    d = {kRegionSize + below(2048) - 1024, 1 + below(1024), one_in(4) ? static_cast<uint16_t>(number()) : region_, 0};
    __atomic_store_n(&shared.tx_produced, shared.tx_produced + 1, __ATOMIC_RELEASE);
    ring(static_cast<uint32_t>(&shared - &map_.socket(0)));
  }

  // One entry, or some bytes, more than there were.
  void lie_about_reading() {
    auto& shared = map_.socket(slot());
    const uint32_t produced = __atomic_load_n(&shared.rx_produced, __ATOMIC_ACQUIRE);
    if (one_in(4)) __atomic_store_n(&shared.rx_consumed, produced + below(3), __ATOMIC_RELEASE);
    if (one_in(2)) {
      const uint64_t bytes = one_in(2) ? shared.rx_consumed_bytes + number() : number();
      __atomic_store_n(&shared.rx_consumed_bytes, bytes, __ATOMIC_RELEASE);
    }
    ring(static_cast<uint32_t>(&shared - &map_.socket(0)));
  }

  // A ring in which every descriptor is right, but there are more of them than it has places.
  void overfill_ring() {
    auto& shared = map_.socket(slot());
    for (auto& d : shared.tx) d = {map_.layout().output.offset, 1 + below(2000), 0, 0};
    const uint32_t more = one_in(2) ? below(100) : 0x7fffffff;
    __atomic_store_n(&shared.tx_produced, __atomic_load_n(&shared.tx_taken, __ATOMIC_ACQUIRE) + more, __ATOMIC_RELEASE);
    ring(static_cast<uint32_t>(&shared - &map_.socket(0)));
  }

  // Its sockets send to themselves as fast as that is taken, and have read all of it: the server is never done with them.
  void keep_busy() {
    std::vector<ipc::abi::SocketShared*> busy;
    for (const uint32_t at : slots_) {
      auto& shared = map_.socket(at);
      if (shared.kind != ipc::abi::kKindUdp || shared.local_port == 0) continue;
      ipc::abi::DatagramHeader header{};
      header.remote_address[10] = header.remote_address[11] = 0xff;
      memcpy(header.remote_address + 12, &neighbour_, sizeof neighbour_);
      header.remote_port = shared.local_port;
      const uint64_t offset = map_.layout().output.offset + at * sizeof header;
      memcpy(map_.base() + offset, &header, sizeof header);
      for (auto& d : shared.tx) d = {offset, sizeof header, 0, 0};
      busy.push_back(&shared);
      ring(at);
    }
    kick();
    for (const auto end = Clock::now() + std::chrono::milliseconds(50); !busy.empty() && Clock::now() < end;) {
      for (auto* shared : busy) {
        const uint32_t taken = __atomic_load_n(&shared->tx_taken, __ATOMIC_ACQUIRE);
        __atomic_store_n(&shared->tx_produced, taken + ipc::abi::kRingEntries * 3 / 4, __ATOMIC_RELEASE);
        __atomic_store_n(&shared->rx_consumed, __atomic_load_n(&shared->rx_produced, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
      }
    }
  }

  // Event queues that are not there.
  void watch_nothing() {
    auto& shared = map_.socket(slot());
    for (auto& watch : shared.watches) __atomic_store_n(&watch, static_cast<uint32_t>(number()), __ATOMIC_RELAXED);
    __atomic_store_n(&shared.wants, 3u, __ATOMIC_RELAXED);
  }

  void kick() {
    const uint64_t one = 1;
    if (kick_.get() >= 0 && write(kick_.get(), &one, sizeof one) < 0) return;
  }

  void open_one() {
    if (slots_.size() >= most_sockets_) return;
    ipc::control::Request request;
    request.op = static_cast<uint32_t>(Op::open_socket);
    request.value = is_neighbour_ || one_in(2) ? ipc::abi::kKindTcp
                    : one_in(3)                ? (one_in(2) ? ipc::abi::kKindMessage : ipc::abi::kKindMessages)
                    : one_in(4)                ? static_cast<uint32_t>(number())
                                               : ipc::abi::kKindUdp;
    request.flags = one_in(10) ? below(8) : 0;
    ipc::DescriptorList fds;
    if (!ask(request, fds)) return;
    const uint32_t opened = last_.slot;
    if (opened >= map_.layout().max_sockets) return;
    slots_.push_back(opened);
    if (fds.count > 0) held_.push_back(fds.take(0));
    ipc::control::Request use;
    use.slot = opened;
    use.generation = last_.generation;
    use.op = static_cast<uint32_t>(one_in(4) ? Op::bind : Op::connect);
    fill_address(use.op == static_cast<uint32_t>(Op::bind) ? 0 : peer_, use);
    if (is_neighbour_) {
      use.op = static_cast<uint32_t>(Op::connect);
      fill_address(neighbour_, use);
      use.address.port = 9101;
    }
    ipc::DescriptorList none;
    ask(use, none);
    if (!is_neighbour_ && one_in(4)) {
      use.op = static_cast<uint32_t>(Op::listen);
      use.value = below(100);
      if (!dead_) ask(use, none);
    }
  }

  void fill_address(uint32_t address, ipc::control::Request& request) {
    set_address(request, address, static_cast<uint16_t>(one_in(2) ? 9100 : number()));
  }

  // Any operation, any field; now and then pure noise, descriptors that are nothing, and messages of the wrong size.
  void request_something() {
    ipc::control::Request request;
    if (one_in(4)) {
      for (size_t at = 0; at + 8 <= sizeof request; at += 8) {
        const uint64_t noise = dice_();
        memcpy(reinterpret_cast<char*>(&request) + at, &noise, 8);
      }
    }
    static constexpr Op kOps[] = {Op::bind, Op::listen, Op::connect, Op::accept, Op::shutdown, Op::set_option, Op::get_option, Op::disconnect,
                                  Op::attach, Op::rehome, Op::demote, Op::event_queue, Op::interfaces, Op::region, Op::send_owner, Op::hello,
                                  Op::stock, Op::peer_region, Op::peer_wake, Op::admin};
    request.op = one_in(20) ? static_cast<uint32_t>(number()) : static_cast<uint32_t>(kOps[below(std::size(kOps))]);
    if (request.op == static_cast<uint32_t>(Op::demote)) return open_one();  // its reply waits for a reader of K that we are not
    request.slot = one_in(4) ? static_cast<uint32_t>(number()) : slot();
    request.generation = map_.mapped() ? map_.socket(request.slot % map_.layout().max_sockets).generation : below(3);
    request.value = one_in(4) ? below(12) : static_cast<uint32_t>(number());
    if (one_in(2)) request.flags = one_in(2) ? 1u << below(4) : static_cast<uint32_t>(number());
    request.level = one_in(2) ? 6 : one_in(3) ? 132 : static_cast<int32_t>(below(50));
    if (request.op == static_cast<uint32_t>(Op::stock) && !one_in(4)) request.value = one_in(2) ? ipc::abi::kKindTcp : ipc::abi::kKindUdp;
    request.name = static_cast<int32_t>(below(request.level == 132 ? 130 : 60));
    request.data_length = one_in(3) ? static_cast<uint32_t>(number()) : 4;
    if (request.op == static_cast<uint32_t>(Op::event_queue) && !one_in(8)) request.flags = 1u << below(3);  // open, forget, wake
    if (request.op == static_cast<uint32_t>(Op::admin) && one_in(2)) {
      static constexpr const char* kCommands[] = {"stat", "ss", "version", "ping", "ping 10.9.0.2 1 56 200", "capture", "capture start", "nothing", " "};
      const char* command = kCommands[below(std::size(kCommands))];
      request.data_length = static_cast<uint32_t>(strlen(command));
      memcpy(request.data, command, request.data_length);
    }
    if (one_in(2)) fill_address(peer_, request);
    int sent[2] = {0, kick_.get()};
    ipc::DescriptorList fds;
    uint32_t count = one_in(4) ? below(3) : 0;
    if (request.op == static_cast<uint32_t>(Op::attach) && !held_.empty() && one_in(2)) {
      sent[0] = held_[below(static_cast<uint32_t>(held_.size()))].get();
      count = 1;
    }
    ask(request, fds, sent, count);
    for (uint32_t i = 0; i < fds.count && held_.size() < 300; ++i) held_.push_back(fds.take(i));
    if (one_in(20) && !held_.empty()) held_.erase(held_.begin() + below(static_cast<uint32_t>(held_.size())));
    if (one_in(500)) {
      dead_ = true;  // a message of the wrong size ends us, not the server
      if (write(control_.get(), &request, 1 + below(sizeof request - 1)) < 0) return;
    }
  }

  // Descriptors that are nearly right, so that they reach the deeper checks, and counters that are not.
  void break_ring() {
    auto& shared = map_.socket(slot());
    const auto& output = map_.layout().output;
    const uint32_t entries = one_in(4) ? below(100) : 1;
    for (uint32_t i = 0; i < entries; ++i) {
      auto& d = shared.tx[below(ipc::abi::kRingEntries)];
      d.offset = one_in(3) ? number() : output.offset + below(static_cast<uint32_t>(output.size));
      d.length = one_in(3) ? static_cast<uint32_t>(number()) : below(70000);
      d.region = static_cast<uint16_t>(one_in(6) ? number() : 0);
      d.flags = static_cast<uint16_t>(one_in(3) ? number() : below(16));
      if (one_in(6)) {  // a call
        d.flags = ipc::abi::kCall;
        d.length = one_in(8) ? d.length : 0;
        d.region = static_cast<uint16_t>(one_in(8) ? number() : 1 + below(2));
        d.offset = one_in(2) ? number() : peer_ | uint64_t{9100} << 32;
      }
    }
    __atomic_store_n(&shared.tx_produced, one_in(4) ? static_cast<uint32_t>(number()) : shared.tx_produced + 1, __ATOMIC_RELEASE);
    if (one_in(2)) __atomic_store_n(&shared.rx_consumed, one_in(2) ? static_cast<uint32_t>(number()) : shared.rx_consumed + 1, __ATOMIC_RELEASE);
    if (one_in(2)) __atomic_store_n(&shared.rx_consumed_bytes, number(), __ATOMIC_RELEASE);
    ring(static_cast<uint32_t>(&shared - &map_.socket(0)));
  }

  void ring_bells() {
    auto& bell = map_.header().doorbell[below(map_.layout().engines)];
    for (uint32_t i = below(300); i > 0; --i) bell.words[below(std::size(bell.words))] = dice_();
    for (auto& summary : bell.summary) summary = one_in(2) ? ~uint64_t{0} : dice_();
  }

  void scribble_socket() { scribble(&map_.socket(slot()), sizeof(ipc::abi::SocketShared), 1 + below(40)); }

  void scribble_anywhere() {
    if (one_in(10)) return scribble(&map_.header(), sizeof(ipc::abi::ChannelHeader), 1 + below(20));
    if (one_in(2)) return scribble(&map_.queue(below(map_.layout().max_queues)), sizeof(ipc::abi::EventQueue), 1 + below(100));
    scribble(map_.base(), map_.layout().total_size, 1000);
  }

  void fill_pool() {
    const auto& output = map_.layout().output;
    const uint64_t from = below(static_cast<uint32_t>(output.size - 65536));
    for (uint64_t at = 0; at < 65536; at += 8) {
      const uint64_t value = dice_();
      memcpy(map_.base() + output.offset + from + at, &value, 8);
    }
  }

  uint32_t peer_, neighbour_;
  ipc::OwnedFd kick_;
  std::vector<uint32_t> slots_;
  std::vector<ipc::OwnedFd> held_;
  uint32_t vices_ = 0;
  uint32_t most_sockets_ = 0;
  bool is_neighbour_ = false;
  static constexpr uint64_t kRegionSize = 2 * ipc::abi::kHugePageSize;
  ipc::OwnedFd region_memfd_;
  uint16_t region_ = 0;  // number of the one that was taken, 0: none
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 && argc != 7) {
    fprintf(stderr, "usage: hostile_client SOCKET PEER NEIGHBOUR SECONDS SEED [LISTENER]\n");
    return 2;
  }
  in_addr peer{}, neighbour{};
  if (inet_pton(AF_INET, argv[2], &peer) != 1 || inet_pton(AF_INET, argv[3], &neighbour) != 1) return 2;
  const auto end = Clock::now() + std::chrono::seconds(atoi(argv[4]));
  auto hostile = std::make_unique<Hostile>(argv[1], peer.s_addr, neighbour.s_addr, strtoull(argv[5], nullptr, 10));
  if (argc == 7) hostile->share(atoi(argv[6]));
  uint64_t lives = 0;
  while (Clock::now() < end) {
    if (!hostile->live(end)) {
      fprintf(stderr, "ferryd is gone after %llu lives\n", static_cast<unsigned long long>(lives));
      return 1;
    }
    ++lives;
  }
  printf("%llu lives, %llu bytes through passages, %llu offers taken\n", static_cast<unsigned long long>(lives),
         static_cast<unsigned long long>(hostile->passed()), static_cast<unsigned long long>(hostile->taken()));
  return 0;
}
