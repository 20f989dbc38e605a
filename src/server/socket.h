// A socket as ferryd sees it: what ties together a socket of the stack, the server's end S of its descriptor pair (DESIGN, "A
// socket is a real kernel descriptor"), and the slots in clients' channels through which programs use it.
//
//   home    the one attachment whose rings carry the data (shared mode, tier 1); listeners have none, all attachments are equal
//   kernel  kernel mode (tier 2): the server moves bytes between S and the stack; the rings are not used any more
//   gone    the last copy of K was closed: what the program still wrote is handed to the stack, then the stack closes
//
// Rule: functions that the stack calls (place … on_acceptable) never call the stack; they mark the socket, and run() does the rest
// at the end of the turn.
//
// Files: socket.cc life, events; socket_output.cc rings and pair → stack; socket_input.cc stack → rings; socket_pair.cc stack ↔ pair
// in kernel mode; socket_move.cc demotion and re-homing; socket_calls.cc calls, those in a ring included; socket_passage.cc connections
// whose bytes go past the server, socket_passage_begin.cc how that begins; socket_offers.cc listeners; socket_publish.cc what clients see; socket_close.cc the end.
#pragma once

#include <algorithm>
#include <vector>

#include "ipc/abi.h"
#include "ipc/descriptor_ring.h"
#include "ipc/lock.h"
#include "server/channel.h"
#include "server/context.h"
#include "server/fifo.h"
#include "server/input_pieces.h"
#include "server/offers.h"
#include "server/pair.h"
#include "server/shared_ports.h"
#include "stack/stack.h"

namespace ferry::server {

// One slot of one channel that stands for a socket, with the server's own copies of the indices in it.
struct Attachment {
  Channel* channel = nullptr;
  uint32_t slot = 0;
  bool used = false;           // it is or was the home: a new home in this channel needs a new slot
  bool left = false;           // it was, and is no more
  ipc::RingConsumer tx;
  uint64_t tx_completed = 0;   // bytes
  uint32_t rx_produced = 0;    // entries, free-running
  uint32_t rx_released = 0;    // entries that the client is done with
  uint64_t rx_bytes = 0;       // bytes put into the ring, cumulative
  uint64_t rx_released_bytes = 0;
  uint64_t rx_reported = 0;    // bytes the client has read, as told to the stack
  uint64_t rx_void = 0;        // up to there they came from a peer that it has no more, and are not told
  uint64_t rx_begin = 0;       // input stream position at which the ring began: what earlier homes have read
  // Payload bytes, and pages, that the client says it has exchanged: no more than it can have; `passed`: bytes that came by passages.
  uint64_t swapped_in(uint64_t passed) const { return std::min(load_relaxed(shared().swapped_in), rx_bytes + passed); }
  uint64_t swapped_pages(uint64_t passed) const { return std::min<uint64_t>(load_relaxed(shared().swapped_pages), rx_bytes + passed); }
  InputPieces input;
  ipc::abi::SocketShared& shared() const { return channel->shared(slot); }
  uint32_t in_ring() const { return rx_produced - rx_released; }
};

// How long a client may hold a lock that was revoked.
inline constexpr Duration kPatience = Duration::seconds(2);

enum class MoveKind : uint8_t { none, rehome, demote };

// Both rings are the home's again.
inline void give_back_locks(ipc::abi::SocketShared& home) {
  ipc::end_revocation(home.tx_lock, true);
  ipc::end_revocation(home.rx_lock, true);
}

struct Passage;

class Socket final : public PollHandler,
                     public ListNode<RunTag>,
                     public ListNode<MoveTag>,
                     public ListNode<OfferTag>,
                     public ListNode<StarvedTag> {
 public:
  // `type` is offered by some protocol server.
  Socket(Context& context, stack::Owner owner, stack::SocketType type);
  ~Socket();

  stack::Owner owner() const { return owner_; }
  stack::SocketId id() const { return id_; }
  void set_id(stack::SocketId id) { id_ = id; }
  stack::SocketType type() const { return type_; }
  bool is_stream() const { return style_ == stack::Style::stream; }
  // Whether it has a peer to connect to, and can listen.
  bool connects() const { return style_ != stack::Style::datagram && !many_; }
  // Has many peers at once (stack::Service::many).
  bool has_many_peers() const { return many_; }
  // Whether the protocol waits to hear what was read.
  bool counts_input() const { return style_ != stack::Style::datagram; }
  bool is_listener() const { return listener_; }
  // A listener's, of another engine: known by the K of that one. See listener_parts.h.
  bool is_part() const { return part_of_ != 0; }
  void set_part(uint64_t cookie);
  // A listener has parts in the other engines.
  void set_has_parts() { has_parts_ = true; }
  bool has_parts() const { return has_parts_; }
  // It ends, or listens no more.
  void close_parts();
  uint64_t cookie() const { return pair_ ? pair_->cookie() : part_of_; }
  // The port that it holds among all engines; null: none, or there is one engine.
  SharedPorts::Claim* claim() { return claim_.get(); }
  void set_claim(std::unique_ptr<SharedPorts::Claim> claim) { claim_ = std::move(claim); }
  bool kernel_mode() const { return kernel_mode_; }
  bool connected() const { return (ready_ & ipc::abi::kConnected) != 0; }
  bool finished() const { return finished_; }
  const stack::Endpoint& local() const { return local_; }
  const std::vector<Attachment>& attachments() const { return attachments_; }
  // The process that uses it; nullptr: none (any more).
  const Channel* user() const;

  // Whose it is; see Sockets::charge.
  void set_account(Account& account, uid_t uid, bool pending = false) {
    account_ = &account, uid_ = uid, pending_ = pending, account.staged += staged_in_ + staged_out_;
  }
  bool is_charged_as_pending() const { return pending_; }
  void leave_account() { account_->staged -= staged_in_ + staged_out_, account_ = nullptr; }
  Account* account() const { return account_; }
  uid_t uid() const { return uid_; }

  // --- set-up, by control requests ---
  // Makes the pair and watches S. The returned K is for the client; invalid when the process has no descriptors left.
  UniqueFd make_pair();
  // Takes over a pair that exists already.
  void set_pair(std::unique_ptr<Pair> pair);
  // A slot for this socket in the channel, made if there is none. Channel::kNoSlot: the channel is full.
  // Without a living home the channel becomes home.
  uint32_t attach(Channel& channel);
  // The present one of this channel's slots.
  uint32_t slot_in(const Channel& channel) const;
  void set_addresses(const stack::Endpoint& local, const stack::Endpoint& remote);
  // TCP: a connect call follows. False: one is under way, or it is connected.
  bool begin_connecting();
  void cancel_connecting();
  void on_shutdown(bool read, bool write);
  // It waits in a client's stock until it comes to use (stock.h).
  void set_spare() { spare_ = true; }
  // A call on it, or a doorbell: a spare socket is one no more, and the stack learns of it. Errors of the stack's open.
  Errc come_to_use();
  // It could not be handed to its client: as if K had been closed.
  void abandon() { on_gone(); }
  // UDP: whether there is a default peer.
  void on_peer(bool connected);
  void on_listening();
  void on_accepted();
  // --- listeners; see socket_offers.cc ---
  // This client accepts by requests: it may be offered connections, which it takes without.
  void offer_to(Channel& channel);
  // The connection that `asker` gets, which nobody has any more: on_accepted() follows. `number`: as CallOp::accept. Errc::again: none.
  Result<Socket*> next_connection(Channel& asker, int64_t number);
  Instant offer_deadline() const;
  // False: it is offered to the client whose slot it has, which has not taken it, and may do nothing with it.
  bool is_claimed() { return offered_by_ == 0 || look_for_claim(); }
  // The socket begins in kernel mode; `k` is the descriptor that the client will get.
  void start_in_kernel_mode(int k);
  // A child in its listener's queue, until on_accepted().
  void set_pending() { accepted_ = false; }
  // SO_ERROR: taken from where the client would see it.
  Errc take_error();
  void set_receive_errors(bool on) { receive_errors_ = on; }
  // Whether K has an owner who wants SIGURG (F_SETOWN).
  void set_signals_owner(bool on) { signals_owner_ = on; }
  // Connects to `remote`, as CallOp::connect. The addresses that it has then are the caller's to set.
  Errc connect(const stack::Endpoint& remote);
  // Takes what its client has put into the ring before it made a call by another way.
  void catch_up();
  void refresh_buffers();

  // --- inputs of a turn ---
  void on_doorbell() {
    mark();
    if (listener_) look_for_close();
  }
  void on_poll(uint32_t events) override;
  // Closing K is told by epoll, later. Looks now, if the socket is not connected; used when its port is wanted again at once.
  void look_for_hang_up();
  // The process behind the channel is gone: what it wrote is taken, what it did not read stays for others.
  void on_client_gone(Channel& channel);
  void mark();
  void run();
  // Writes the state to the clients' slots if it has changed. Before the reply to a control call: the caller looks at once.
  void publish();
  // Reads the client's consumption: gives memory back, remembers the bytes for the stack. Calls nobody.
  void sync_input();

  // --- moving; see socket_move.cc ---
  // Makes `channel` the home, or puts the socket into kernel mode. The outcome is told to channel.client() by on_move_done(),
  // perhaps before this returns. Errc::already: another move is under way; not_supported: a listener.
  Status start_move(MoveKind kind, Channel& channel);
  void cancel_move(const Channel& channel);
  Instant move_deadline() const { return move_deadline_; }

  // --- passages; see socket_passage.cc and peers.h ---
  // Ends the passage, or the attempt. False: not yet, a client holds a lock; run() goes on with it.
  bool leave_passage();
  // The same at once, come what may: the connection is going to be thrown away.
  void tear_passage();
  // Tells the stack what has been passed and read so far, for TCP_INFO.
  void tell_passed();
  bool in_passage() const;
  struct Passed {
    uint64_t out = 0, in = 0;  // bytes, since the connection began
    uint64_t unread = 0;       // of what the other end has written, now in the passage
    uint64_t referred = 0;     // of `out`, pages that were not copied
  };
  Passed passed() const;
  // Payload bytes that the client at home says it has copied (of its present slot), and those of output that it referred to.
  struct Copied {
    uint64_t out = 0, in = 0, referenced_out = 0;
    uint64_t swapped_in = 0, swapped_pages = 0;  // of the present slot: in pages that were exchanged
  };
  Copied copied() const;

  // --- called by the stack, through Host ---
  Result<buf::IoDesc> place(ByteSpan payload);
  // Memory of the home's client for `length` bytes of payload. Errc::not_supported: the socket has no home in shared mode;
  // no_buffers.
  Result<buf::IoDesc> allocate_input(uint32_t length);
  // The same for the next bytes of the stream, which go where the client wants them, if it has lent memory for them.
  Result<buf::IoDesc> next_input(uint32_t length);
  void discard(const buf::IoDesc& d) { release_input(d); }
  void deliver(const buf::IoDesc& d);
  Status deliver_datagram(const stack::DatagramInfo& info, ByteSpan payload);
  Status deliver_message(const stack::MessageInfo& info, ByteSpan payload);
  void deliver_icmp_error(const stack::IcmpError& error);
  void on_completed(uint32_t bytes);
  void on_events(uint32_t events);
  void on_acceptable();
  // A connection waits now. Seen by the clients before anything that its peer, if that is ours as well, learns in this turn.
  void announce_acceptable();

 private:
  struct Output {        // taken from a ring, not yet with the stack
    buf::IoDesc data;
    uint16_t flags = 0;  // abi::DescriptorFlag
  };
  struct Span {          // output not completed, in order: whose memory it is in
    Channel* channel = nullptr;  // nullptr: staging memory
    uint32_t slot = 0;
    uint64_t bytes = 0;
    uint64_t staged_offset = 0;
  };

  // socket.cc
  Attachment* home() { return home_ < 0 ? nullptr : &attachments_[static_cast<size_t>(home_)]; }
  Attachment* find(const Channel* channel, uint32_t slot);
  void detach(size_t index);
  void fail(Errc error);
  void watch_pair();
  uint32_t kind() const;
  void drop_pair();

  // socket_close.cc
  void look_for_close();
  void look_whether_closed(Attachment& a, uint32_t wants);
  bool can_give_back(const Attachment& a) const;
  void give_pair_back();
  void on_gone();
  void try_close();
  void finish();

  // socket_publish.cc
  bool hides_end(const Attachment& a) const;
  uint32_t visible_ready(const Attachment& a) const;
  void publish_to(Attachment& a);
  void publish_words();
  void on_urgent(uint64_t mark);

  // socket_calls.cc
  void stray(const stack::Endpoint& remote);
  void stray_no_more();
  bool take_call(const ipc::abi::Descriptor& d);

  // socket_output.cc
  void condemn(Channel& channel, const char* what);
  bool take_output(Attachment& a, bool all = false);
  void feed();
  bool feed_stream(Output& o);
  bool feed_message(const Output& o);
  bool gather(const Output& o, uint32_t bound);
  void feed_datagram(const Output& o);
  void send_datagram(const buf::IoDesc& whole);
  Errc send_message(const buf::IoDesc& whole);
  void complete(uint64_t bytes);
  void drop_output();
  void offer_space();
  // In front of every entry of its rings.
  uint32_t header_size() const { return is_stream() ? 0 : sizeof(ipc::abi::DatagramHeader); }
  bool output_dead() const { return (ready_ & ipc::abi::kWriteClosed) != 0 || id_dead_; }

  // Staging memory, on the account of the user. Errc::no_buffers beyond a bound.
  void keep_record(const buf::IoDesc& d, ByteSpan header, ByteSpan payload, bool shared);
  Result<buf::IoDesc> stage(uint32_t length, uint64_t& counter);
  void unstage(const buf::IoDesc& d, uint64_t& counter);

  // socket_input.cc
  void release_input(const buf::IoDesc& d);
  void push_input(Attachment& a);
  bool bring_home(Attachment& a, buf::IoDesc& d);
  bool take_input_pieces(Attachment& a);
  bool has_lent_input(const Attachment& a);
  void report_consumed();
  void drop_input();
  void forget_input();
  void choose_home();
  uint32_t in_ring() { return home_ < 0 || kernel_mode_ ? 0 : home()->in_ring(); }

  // socket_pair.cc
  void read_pair();
  bool read_stream();
  bool read_datagram();
  void write_pair();
  void drain_filling();

  // socket_move.cc
  void try_move();
  bool locks_free(Attachment& a);
  void leave_home(Attachment& a);
  void give_up_slot(Attachment& a, uint32_t mode);
  bool enter_home(Channel& channel);
  void free_left_slots();
  void enter_kernel_mode();
  void bound_window();
  void end_move(Errc outcome);
  bool moved_too_often();
  void expect_locks(Instant deadline);
  void expect_no_locks();

  // socket_offers.cc
  OfferTaker* find_taker(const Channel& channel);
  OfferTaker* next_taker();
  Socket* next_waiting(int64_t number);
  void run_offers();
  Instant deadline_of(const OfferTaker& taker) const;
  bool is_overdue(const OfferTaker& taker) const;
  void tell_held();
  Result<Socket*> oldest_for(Channel& asker, int64_t number);
  bool can_be_asked(const Channel& asker) const;
  void offer(Socket& child, OfferTaker& taker);
  void see_claims();
  void see_claims(OfferTaker& taker, uint32_t consumed);
  void take_back(OfferTaker& taker);
  void take_back_overdue(bool from_all);
  bool others_can_take() const;
  static bool waits_at_listener(const OfferTaker& taker);
  void put_back(Socket& child);
  void stop_offers_to(const Channel& channel);
  void forget_taker(const Channel& channel);
  void drop_offers();
  bool look_for_claim();
  bool go_back();
  void withdraw();

  // socket_passage_begin.cc
  void consider_passage();
  uint32_t runs_before_passage() const;
  bool may_pass();
  bool both_may_pass();
  void enter_passage();
  bool start_draining();
  void wait_for_readers();
  void drain();
  bool is_held_back() const;
  uint64_t bytes_read() const;
  bool is_output_through();
  bool hand_over_output();
  bool hand_over_input();
  void open_passage();
  void abandon_passage();
  // socket_passage.cc
  bool run_passage();
  bool wants_to_leave();
  bool finish_passage(bool forced, const char* broken = nullptr);
  struct Unread;
  uint64_t keep_unread(uint32_t side, const Unread& way);
  void break_connection(const char* why);
  void publish_passage(ipc::abi::SocketShared& s);
  void on_home_gone();
  Socket* other_end() const;

  Context& ctx_;
  const stack::Owner owner_;
  stack::SocketId id_ = 0;
  const stack::SocketType type_;
  const stack::Style style_;
  const bool many_;
  std::unique_ptr<Pair> pair_;  // S
  std::vector<Attachment> attachments_;
  int home_ = -1;               // index in attachments_

  uint32_t ready_ = 0;          // abi::ReadyBit
  Errc error_ = Errc::ok;       // not yet taken by the client
  stack::Endpoint local_, remote_;
  uint32_t send_buffer_ = 0, receive_buffer_ = 0;  // bytes
  bool fixed_buffers_ = false;  // the program has chosen one of them
  uint32_t accept_count_ = 0;
  std::unique_ptr<Offers> offers_;
  Errc accept_error_ = Errc::ok;  // of the last look at the queue
  stack::Owner offered_by_ = 0;   // a child: its listener, until a client has taken it
  uint64_t arrival_ = 0;          // a child: which of its listener's it was, for the order of what comes back
  uint32_t runs_ = 0;
  bool listener_ = false;
  bool spare_ = false;
  bool accepted_ = true;        // false: a child in its listener's queue
  bool kernel_mode_ = false;
  bool gone_ = false;
  bool id_dead_ = false;        // close was called
  bool closed_ = false;         // the stack said so
  bool closed_before_ = false;  // closed_ before the connect call under way
  bool finished_ = false;
  bool state_changed_ = false;  // words other than the rings'
  bool event_ = false;          // something to signal
  bool arrived_ = false;        // a listener: a connection to offer, or to signal
  bool receive_errors_ = false; // IP_RECVERR
  bool signals_owner_ = false;
  uint64_t urgent_mark_ = 0;    // input stream position after the urgent byte last told
  uint64_t read_before_ = 0;    // bytes of input that homes which were left have read
  bool pair_readable_ = false, pair_writable_ = false, pair_ended_ = false, pair_shut_ = false;
  uint32_t filling_ = 0;        // bytes of our own in S that make a connecting K unwritable

  Fifo<Output> backlog_;
  Fifo<Span> spans_;
  uint64_t span_bytes_ = 0;     // sum of spans_
  uint64_t in_stack_ = 0;       // of these, with the stack
  uint64_t referenced_out_ = 0; // bytes of output taken by reference to a region of the client, ever
  uint64_t staged_out_ = 0;
  std::vector<std::byte> gather_;  // a datagram in several descriptors

  Fifo<buf::IoDesc> rx_;        // delivered; the first in_ring() are in the ring of the home
  uint64_t rx_bytes_ = 0;       // sum of rx_
  uint64_t staged_in_ = 0;
  uint64_t credit_ = 0;         // read by the program, not yet told to the stack

  uint64_t part_of_ = 0;
  bool has_parts_ = false;
  bool stray_ = false;          // its flow comes to another engine, which passes it on
  stack::Endpoint stray_to_;
  std::unique_ptr<SharedPorts::Claim> claim_;

  Account* account_ = nullptr;
  uid_t uid_ = 0;
  bool pending_ = false;        // on the account of its listener's user, for staging memory only
  MoveKind move_ = MoveKind::none;
  Channel* move_channel_ = nullptr;
  Instant move_deadline_;
  Instant moves_since_;
  uint8_t recent_moves_ = 0;

  Passage* passage_ = nullptr;
  uint32_t passage_at_ = 0;     // runs_ at which to look for one
  uint8_t passage_tries_ = 0;
  uint32_t passage_epoch_ = 0;
  Passed passed_;               // by passages that were left
};

}  // namespace ferry::server
