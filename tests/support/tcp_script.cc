#include "support/tcp_script.h"

#include <map>
#include <sstream>

namespace ferry::tcp::testing {
namespace {

constexpr uint8_t kPeerScale = 7;

char pattern(uint64_t position) { return static_cast<char>('a' + position % 26); }

std::string pattern(uint64_t from, uint64_t length) {
  std::string s(length, ' ');
  for (uint64_t i = 0; i < length; ++i) s[i] = pattern(from + i);
  return s;
}

Duration parse_duration(const std::string& s) {
  size_t unit = 0;
  int64_t n = std::stoll(s, &unit);
  std::string u = s.substr(unit);
  return u == "us" ? Duration::us(n) : u == "ms" ? Duration::ms(n) : Duration::seconds(n);
}

uint8_t parse_flags(const std::string& s) {
  static const std::map<char, uint8_t> kFlags{{'F', kFin}, {'S', kSyn}, {'R', kRst}, {'P', kPsh}, {'A', kAck}, {'U', kUrg}};
  uint8_t f = 0;
  for (char c : s) f = static_cast<uint8_t>(f | (kFlags.count(c) != 0 ? kFlags.at(c) : 0));
  return f;
}

std::string flags_text(uint8_t flags) {
  std::string s;
  for (auto [c, f] : {std::pair{'S', kSyn}, {'F', kFin}, {'R', kRst}, {'P', kPsh}, {'A', kAck}, {'U', kUrg}}) {
    if ((flags & f) != 0) s += c;
  }
  return s;
}

std::pair<uint32_t, uint32_t> parse_range(const std::string& s) {
  size_t colon = s.find(':');
  if (colon == std::string::npos) throw std::invalid_argument("not a range: " + s);
  return {static_cast<uint32_t>(std::stoll(s.substr(0, colon))), static_cast<uint32_t>(std::stoll(s.substr(colon + 1)))};
}

const std::map<std::string, Option> kOptions{
    {"no_delay", Option::no_delay},           {"cork", Option::cork},
    {"keep_alive", Option::keep_alive},       {"keep_idle", Option::keep_idle},
    {"keep_interval", Option::keep_interval}, {"keep_count", Option::keep_count},
    {"user_timeout", Option::user_timeout},   {"max_segment", Option::max_segment},
    {"quick_ack", Option::quick_ack},         {"receive_buffer", Option::receive_buffer},
    {"send_buffer", Option::send_buffer},     {"syn_count", Option::syn_count},
    {"congestion", Option::congestion},       {"linger2", Option::linger2},
    {"window_clamp", Option::window_clamp},   {"not_sent_low_water", Option::not_sent_low_water}};

const std::map<std::string, Event> kEvents{
    {"established", Event::established}, {"readable", Event::readable}, {"writable", Event::writable},
    {"peer_closed", Event::peer_closed}, {"failed", Event::failed},     {"closed", Event::closed},
    {"urgent", Event::urgent}};

Errc parse_errc(const std::string& name) {
  for (int e = 0; e <= static_cast<int>(Errc::version_mismatch); ++e) {
    if (name == errc_name(static_cast<Errc>(e))) return static_cast<Errc>(e);
  }
  throw std::invalid_argument("no such error: " + name);
}

std::string number(uint64_t n) { return std::to_string(n); }

}  // namespace

void TcpScript::fail(const std::string& why) {
  if (error_.empty()) error_ = why;
}

std::string TcpScript::run(const std::string& text) {
  setup_.iss = SeqNum(9000);
  setup_.mss = 1460;
  std::istringstream in(text);
  std::string l;
  int n = 0;
  while (error_.empty() && std::getline(in, l)) {
    ++n;
    try {
      line(l);
    } catch (const std::exception& e) {
      fail(std::string("cannot read this line: ") + e.what());
    }
    if (error_.empty() && !end_.contract_error.empty()) fail("host contract: " + end_.contract_error);
    if (!error_.empty()) return "line " + std::to_string(n) + ": " + l + "\n  " + error_;
  }
  if (!end_.sent.empty()) return "at the end, unseen: " + describe(end_.sent.front());
  if (end_.received != pattern(0, end_.received.size())) return "delivered bytes are wrong";
  return "";
}

void TcpScript::begin() {
  if (begun_) return;
  begun_ = true;
  for (auto& [name, value] : options_) {
    if (!store_option(setup_.options, kOptions.at(name), value)) fail("option refused: " + name);
  }
  end_.reset(setup_);
}

void TcpScript::line(const std::string& text) {
  std::istringstream in(text);
  Words w;
  for (std::string word; in >> word;) w.push_back(word);
  if (w.empty() || w[0][0] == '#') return;
  if (w[0] == "set") return set(w);
  begin();
  if (w[0] == "open") end_->open_active(now_);
  else if (w[0] == "connected") connected(w);
  else if (w[0] == "<") inject(w);
  else if (w[0] == ">") expect(w);
  else if (w[0][0] == '+') advance(parse_duration(w[0].substr(1)));
  else if (w[0] == "send") send(w);
  else if (!owner_call(w)) question(w);
}

void TcpScript::set(const Words& w) {
  int64_t v = std::stoll(w.at(2));
  if (w[1] == "iss") setup_.iss = SeqNum(static_cast<uint32_t>(v));
  else if (w[1] == "irs") irs_ = SeqNum(static_cast<uint32_t>(v));
  else if (w[1] == "mss") setup_.mss = static_cast<uint16_t>(v);
  else if (w[1] == "gso") setup_.max_gso = static_cast<uint32_t>(v);
  else if (kOptions.count(w[1]) != 0) options_.emplace_back(w[1], v);
  else fail("unknown setting");
}

void TcpScript::connected(const Words& w) {
  Words syn{"<", "S", "0:1", "win", "65535", "mss", "1460"};
  bool ts = true, ws = true, sack = true;
  for (size_t i = 1; i < w.size(); ++i) {
    if (w[i] == "nots") ts = false;
    else if (w[i] == "nows") ws = false;
    else if (w[i] == "nosack") sack = false;
    else if (w[i] == "win") syn[4] = w.at(++i);
    else if (w[i] == "mss") syn[6] = w.at(++i);
    else fail("unknown word " + w[i]);
  }
  if (!ts) syn.push_back("nots");
  if (ws) syn.insert(syn.end(), {"ws", "7"});
  if (sack) syn.push_back("sackOK");
  inject(syn);
  expect({">", "SA", "0:1", "ack", "1"});
  now_ = now_ + Duration::ms(10);
  inject({"<", "A", "1:1", "ack", "1", "win", ws ? number(std::stoull(syn[4])) : syn[4]});
  if (end_->state() != State::established) fail("not established");
  end_.events = 0;
}

Wire TcpScript::parse(const Words& w) {
  Wire s;
  s.flags = parse_flags(w.at(1));
  auto [from, to] = parse_range(w.at(2));
  s.seq = irs_ + from;
  uint32_t length = to - from;
  if (s.has(kSyn)) --length;
  if (s.has(kFin)) --length;
  s.payload = pattern(from - (s.has(kSyn) ? 0 : 1), length);
  uint32_t window = 65535;
  bool ts = peer_ts_;
  s.options.ts_value = static_cast<uint32_t>(now_.ms()) + 100000;
  s.options.ts_echo = last_ts_seen_;
  for (size_t i = 3; i < w.size(); ++i) {
    if (w[i] == "ack") s.ack = setup_.iss + static_cast<uint32_t>(std::stoll(w.at(++i)));
    else if (w[i] == "win") window = static_cast<uint32_t>(std::stoul(w.at(++i)));
    else if (w[i] == "urg") s.urgent_pointer = static_cast<uint16_t>(std::stoul(w.at(++i)));
    else if (w[i] == "mss") s.options.mss = static_cast<uint16_t>(std::stoul(w.at(++i)));
    else if (w[i] == "ws") s.options.window_scale = static_cast<int8_t>(std::stoi(w.at(++i)));
    else if (w[i] == "sackOK") s.options.sack_permitted = true;
    else if (w[i] == "nots") ts = false;
    else if (w[i] == "more") continue;
    else if (w[i] == "gso") s.gso_size = static_cast<uint16_t>(std::stoul(w.at(++i)));
    else if (w[i] == "ts") {
      size_t slash = w.at(++i).find('/');
      s.options.ts_value = static_cast<uint32_t>(std::stoul(w[i].substr(0, slash)));
      s.options.ts_echo = static_cast<uint32_t>(std::stoul(w[i].substr(slash + 1)));
    } else if (w[i] == "sack") {
      std::istringstream blocks(w.at(++i));
      for (std::string b; std::getline(blocks, b, ',');) {
        auto [l, r] = parse_range(b);
        s.options.sacks[s.options.sack_count++] = {setup_.iss + l, setup_.iss + r};
      }
    } else {
      throw std::invalid_argument(w[i]);
    }
  }
  s.options.has_timestamps = ts;
  if (s.has(kSyn)) {
    peer_ts_ = ts;
    peer_sack_ = s.options.sack_permitted;
    peer_ws_ = s.options.window_scale >= 0;
  }
  s.window = static_cast<uint16_t>(!s.has(kSyn) && peer_ws_ ? window >> kPeerScale : window);
  return s;
}

void TcpScript::inject(const Words& w) {
  Wire s = parse(w);
  if (end_->state() == State::closed && s.has(kSyn) && !s.has(kAck) && !end_.saw(Event::closed)) {
    end_->open_passive(now_, s.input());
  } else {
    end_.receive(now_, s);
  }
  if (w.back() != "more") advance({});  // the turn ends: what is due by now is done
}

uint32_t TcpScript::scaled(const Wire& w) const {
  return w.has(kSyn) || !peer_ws_ ? w.window : uint32_t{w.window} << kPeerScale;
}

std::string TcpScript::describe(const Wire& w) const {
  uint32_t from = static_cast<uint32_t>(w.seq - setup_.iss);
  uint32_t length = static_cast<uint32_t>(w.payload.size()) + w.has(kSyn) + w.has(kFin);
  std::string s = flags_text(w.flags) + " " + number(from) + ":" + number(from + length);
  if (w.has(kAck)) s += " ack " + number(static_cast<uint32_t>(w.ack - irs_));
  s += " win " + number(scaled(w));
  if (w.has(kUrg)) s += " urg " + number(w.urgent_pointer);
  if (w.options.mss != 0) s += " mss " + number(w.options.mss);
  if (w.options.window_scale >= 0) s += " ws " + number(static_cast<uint64_t>(w.options.window_scale));
  if (w.options.sack_permitted) s += " sackOK";
  for (uint8_t i = 0; i < w.options.sack_count; ++i) {
    s += i == 0 ? " sack " : ",";
    s += number(static_cast<uint32_t>(w.options.sacks[i].left - irs_)) + ":" +
         number(static_cast<uint32_t>(w.options.sacks[i].right - irs_));
  }
  if (w.options.has_timestamps) s += " ts " + number(w.options.ts_value) + "/" + number(w.options.ts_echo);
  else s += " nots";
  return s;
}

// Every field that `wanted` names must be in the description of `got`.
std::string TcpScript::mismatch(const Wire& got, const Words& wanted) const {
  std::istringstream in(describe(got));
  Words have;
  for (std::string word; in >> word;) have.push_back(word);
  if (wanted.at(1) != have[0] || wanted.at(2) != have[1]) return "we sent: " + describe(got);
  for (size_t i = 3; i < wanted.size(); ++i) {
    bool alone = wanted[i] == "sackOK" || wanted[i] == "nots";
    bool found = false;
    for (size_t j = 2; j < have.size(); ++j) {
      if (have[j] != wanted[i]) continue;
      found = alone || (j + 1 < have.size() && i + 1 < wanted.size() && have[j + 1] == wanted[i + 1]);
    }
    if (wanted[i] == "nosack") {
      found = got.options.sack_count == 0;
      alone = true;
    } else if (wanted[i] == "gso") {
      found = std::to_string(got.mss) == wanted.at(i + 1);
    }
    if (!found) return "we sent: " + describe(got);
    if (!alone) ++i;
  }
  return "";
}

void TcpScript::check_payload(const Wire& w) {
  if (w.payload.empty()) return;
  if (w.payload != pattern(static_cast<uint32_t>(w.seq - setup_.iss) - 1, w.payload.size())) fail("wrong payload bytes");
}

void TcpScript::expect(const Words& w) {
  if (w.at(1) == "nothing") {
    if (!end_.sent.empty()) fail("we sent: " + describe(end_.sent.front()));
    return;
  }
  if (end_.sent.empty()) return fail("we sent nothing");
  Wire got = std::move(end_.sent.front());
  end_.sent.pop_front();
  if (got.options.has_timestamps) last_ts_seen_ = got.options.ts_value;
  check_payload(got);
  std::string why = mismatch(got, w);
  if (!why.empty()) fail(why);
}

void TcpScript::advance(Duration d) {
  Instant end = now_ + d;
  for (int rounds = 0; end_->next_deadline() <= end; ++rounds) {
    if (rounds > 1000) return fail("timers do not come to rest");
    if (end_->next_deadline() > now_) now_ = end_->next_deadline();
    end_->on_timer(now_);
  }
  now_ = end;
}

void TcpScript::send(const Words& w) {
  Connection::SendFlags flags;
  Errc wanted = Errc::ok;
  for (size_t i = 2; i < w.size(); ++i) {
    if (w[i] == "more") flags.more = true;
    else if (w[i] == "urgent") flags.urgent = true;
    else if (w[i] == "fails") wanted = parse_errc(w.at(++i));
    else fail("unknown word " + w[i]);
  }
  uint64_t n = std::stoull(w.at(1));
  Status s = end_.send(now_, pattern(sent_bytes_, n), flags);
  if (s.error() != wanted) fail(std::string("send says ") + errc_name(s.error()));
  if (s) sent_bytes_ += n;
}

bool TcpScript::owner_call(const Words& w) {
  if (w[0] == "read") end_->consumed(now_, static_cast<uint32_t>(std::stoul(w.at(1))));
  else if (w[0] == "shutdown") end_->shutdown_write(now_);
  else if (w[0] == "shut-read") end_->shutdown_read(now_);
  else if (w[0] == "close") end_->close(now_);
  else if (w[0] == "abort") end_->abort(now_);
  else if (w[0] == "place-limit") end_.place_limit = std::stoull(w.at(1));
  else if (w[0] == "place-piece") end_.place_piece = std::stoull(w.at(1));
  else if (w[0] == "path-mss") end_->on_path_mss(now_, static_cast<uint16_t>(std::stoul(w.at(1))), setup_.iss + static_cast<uint32_t>(end_.completed) + 1);
  else if (w[0] == "option") {
    Status s = end_->set_option(now_, kOptions.at(w.at(1)), std::stoll(w.at(2)));
    Errc wanted = w.size() > 4 && w[3] == "fails" ? parse_errc(w[4]) : Errc::ok;
    if (s.error() != wanted) fail(std::string("set_option says ") + errc_name(s.error()));
  } else if (w[0] == "icmp") {
    bool opening = end_->state() == State::syn_sent || end_->state() == State::syn_received;
    SeqNum quoted = setup_.iss + (opening ? 0 : 1 + static_cast<uint32_t>(end_.completed));
    if (w.size() > 3 && w[3] == "stale") quoted = quoted - 100000;
    end_->on_icmp_error(now_, w.at(1) == "hard" ? IcmpKind::hard : IcmpKind::soft, parse_errc(w.at(2)), quoted);
  } else {
    return false;
  }
  return true;
}

void TcpScript::question(const Words& w) {
  auto same = [&](const std::string& got) {
    if (got != w.at(1)) fail("it is " + got);
  };
  if (w[0] == "state") same(state_name(end_->state()));
  else if (w[0] == "error") same(errc_name(end_->error()));
  else if (w[0] == "received") same(number(end_.received.size()));
  else if (w[0] == "completed") same(number(end_.completed));
  else if (w[0] == "held") same(number(end_.held));
  else if (w[0] == "urgent-mark") same(number(end_->urgent_mark()));
  else if (w[0] == "urgent-byte") same(number(end_->urgent_byte() & 0xff));
  else if (w[0] == "cwnd") same(number(end_->info(now_).snd_cwnd));
  else if (w[0] == "space") same(number(end_->send_space()));
  else if (w[0] == "retransmits") same(number(end_->info(now_).total_retrans));
  else if (w[0] == "event" || (w[0] == "no" && w.at(1) == "event")) {
    uint32_t bit = static_cast<uint32_t>(kEvents.at(w.back()));
    bool seen = (end_.events & bit) != 0;
    if (seen != (w[0] == "event")) fail(seen ? "it happened" : "it did not happen");
    end_.events &= ~bit;
  } else {
    fail("unknown line");
  }
}

}  // namespace ferry::tcp::testing
