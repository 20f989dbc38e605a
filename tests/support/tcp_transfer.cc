#include "support/tcp_transfer.h"

namespace ferry::tcp::testing {
namespace {

struct Side {
  TcpEndpoint end;
  std::string out;
  size_t written = 0, read = 0;
  bool shut = false;
};

bool alive(const TcpEndpoint& e, Connection& c) {
  return c.state() != State::closed || !e.saw(Event::closed);
}

}  // namespace

std::string random_bytes(uint64_t seed, size_t n) {
  Rng rng(seed);
  std::string s(n, 0);
  for (char& c : s) c = static_cast<char>(rng.next());
  return s;
}

TransferResult transfer(const TransferConfig& config) {
  TransferResult result;
  Rng rng(config.path.seed ^ 0x5eed);
  Side sides[2];
  sides[0].end.reset(config.client);
  sides[1].end.reset(config.server);
  sides[0].out = random_bytes(config.path.seed + 1, config.client_bytes);
  sides[1].out = random_bytes(config.path.seed + 2, config.server_bytes);
  TcpPath path(sides[0].end, sides[1].end, config.path);
  path.listening = true;
  sides[0].end->open_active(path.now());
  Instant limit = path.now() + config.limit;

  auto done = [](Side& s) { return s.end->state() == State::time_wait || (s.end->state() == State::closed && s.end.saw(Event::closed)); };
  while (!(done(sides[0]) && done(sides[1])) && path.step(limit)) {
    for (int i = 0; i < 2; ++i) {
      Side& s = sides[i];
      s.end.place_piece = config.place_piece;
      s.end.place_limit = rng.below(1000) < config.place_refusal_permille ? 0 : config.place_limit;
      if (!s.end.saw(Event::established) || !alive(s.end, *s.end)) continue;
      State state = s.end->state();
      if (rng.below(1000) < config.rebuild_permille && state != State::time_wait && state != State::closed) {
        std::vector<std::byte> record = s.end.save();
        s.end.sent.clear();
        s.end.drop();
        Status ok = s.end.revive(path.now(), record);
        if (!ok) {
          result.error = std::string("cannot be rebuilt: ") + errc_name(ok.error());
          return result;
        }
        ++result.rebuilt;
      }
      while (s.written < s.out.size() && s.end->send_space() > 0) {
        size_t n = 1 + rng.below(60'000);
        if (n > s.out.size() - s.written) n = s.out.size() - s.written;
        Connection::SendFlags flags;
        flags.more = rng.below(4) == 0;
        if (!s.end.send(path.now(), s.out.substr(s.written, n), flags)) break;
        s.written += n;
      }
      if (s.written == s.out.size() && !s.shut) {
        s.end->shutdown_write(path.now());
        s.shut = true;
      }
      size_t unread = s.end.received.size() - s.read;
      bool end = s.end.saw(Event::peer_closed);
      if (unread > 0 && (end || config.eager_reader || rng.below(config.lazy_reader ? 40 : 3) == 0)) {
        size_t n = end || config.eager_reader ? unread : 1 + rng.below(static_cast<uint32_t>(unread));
        s.read += n;
        s.end->consumed(path.now(), static_cast<uint32_t>(n));
      }
      if (end && s.shut && s.read == s.end.received.size()) s.end->close(path.now());
    }
    // A reader that sleeps must wake without traffic.
    if (config.lazy_reader) {
      for (Side& s : sides) {
        size_t unread = s.end.received.size() - s.read;
        if (unread == 0) continue;
        s.read += unread;
        s.end->consumed(path.now(), static_cast<uint32_t>(unread));
      }
    }
    path.collect();
  }
  result.took = path.now() - Instant();
  result.packets = path.packets();
  result.lost = path.lost();
  for (int i = 0; i < 2; ++i) {
    Side& s = sides[i];
    const char* who = i == 0 ? "client: " : "server: ";
    result.retransmissions += s.end->info(path.now()).total_retrans;
    if (!s.end.contract_error.empty()) result.error = who + s.end.contract_error;
    else if (s.end->error() != Errc::ok) result.error = std::string(who) + "failed: " + errc_name(s.end->error());
    else if (!done(s)) {
      result.error = std::string(who) + "stuck in " + state_name(s.end->state()) + ", the other in " +
                     state_name(sides[1 - i].end->state());
    } else if (s.end.received != sides[1 - i].out) result.error = std::string(who) + "received wrong bytes";
    else if (s.end.completed != s.out.size()) result.error = std::string(who) + "not all output given back";
    else if (s.end.held != 0) result.error = std::string(who) + "placed memory left";
    if (!result.error.empty()) break;
  }
  return result;
}

}  // namespace ferry::tcp::testing
