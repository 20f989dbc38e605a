#include "server/admin.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <mutex>

#include "link/open.h"
#include "server/config.h"
#include "server/credentials.h"
#include "server/version.h"

namespace ferry::server {
namespace {

using nlohmann::json;

// As ss(8) names them.
const char* state_name_of(uint8_t state) {
  switch (static_cast<tcp::State>(state)) {
    case tcp::State::established: return "ESTAB";
    case tcp::State::syn_sent: return "SYN-SENT";
    case tcp::State::syn_received: return "SYN-RECV";
    case tcp::State::fin_wait_1: return "FIN-WAIT-1";
    case tcp::State::fin_wait_2: return "FIN-WAIT-2";
    case tcp::State::time_wait: return "TIME-WAIT";
    case tcp::State::closed: return "UNCONN";
    case tcp::State::close_wait: return "CLOSE-WAIT";
    case tcp::State::last_ack: return "LAST-ACK";
    case tcp::State::listen: return "LISTEN";
    case tcp::State::closing: return "CLOSING";
  }
  return "UNKNOWN";
}

std::string endpoint_name(const stack::Endpoint& e) {
  std::string port = e.port == 0 ? "*" : std::to_string(e.port);
  return (e.address.is_v4() ? to_string(e.address.v4()) : "?") + ":" + port;
}

const char* timer_name(stack::TimerKind kind) {
  switch (kind) {
    case stack::TimerKind::retransmit: return "on";
    case stack::TimerKind::keep_alive: return "keepalive";
    case stack::TimerKind::time_wait: return "timewait";
    case stack::TimerKind::persist: return "persist";
    case stack::TimerKind::other: return "unknown";
    case stack::TimerKind::none: break;
  }
  return "off";
}

// Sorts the stack's flat counters by their prefix.
struct StackCounters final : stack::CounterVisitor {
  json& root;
  explicit StackCounters(json& j) : root(j) {}
  void on_counter(const char* name, uint64_t value) override {
    std::string text = name;
    for (const char* group : {"tcp", "udp", "icmp"}) {
      std::string prefix = std::string(group) + "_";
      if (text.rfind(prefix, 0) == 0) {
        root[group][text.substr(prefix.size())] = value;
        return;
      }
    }
    if (text.rfind("drop_", 0) == 0) {
      root["drops"][text.substr(5)] = value;
    } else {
      root["stack"][text] = value;
    }
  }
};

// Writes every socket as it comes, so that a list of many thousands takes no memory of ferryd's.
struct SocketLister final : stack::SocketVisitor {
  Sockets& sockets;
  bool see_all;
  uid_t uid;
  Answer& out;
  bool first = true;
  const uint32_t engine;
  const bool engines;  // there are several
  SocketLister(Engine& e, bool all, uid_t u, Answer& o)
      : sockets(e.sockets()), see_all(all), uid(u), out(o), engine(e.context().engine), engines(e.context().engines != nullptr) {}

  void on_socket(const stack::SocketInfo& info) override {
    auto type = static_cast<stack::SocketType>(info.type);
    json j = {{"type", type == stack::SocketType::tcp    ? "tcp"
                       : type == stack::SocketType::udp  ? "udp"
                       : type != stack::SocketType::icmp_echo ? "sctp"
                                                         : "icmp"},
              {"state", type != stack::SocketType::udp && type != stack::SocketType::icmp_echo ? state_name_of(info.tcp_state)
                        : info.remote.port != 0        ? "ESTAB"
                                                       : "UNCONN"},
              {"receive_queue", info.receive_queue},
              {"send_queue", info.send_queue},
              {"local", endpoint_name(info.local)},
              {"remote", endpoint_name(info.remote)},
              {"timer", timer_name(info.timer)},
              {"timer_ms", info.timer_remaining.count_ms()},
              {"retransmits", info.retransmits},
              {"mode", "server"}};
    if (engines) j["engine"] = engine;
    Socket* s = info.owner != 0 ? sockets.find(info.owner) : nullptr;
    if (s != nullptr && (s->is_part() || s->has_parts())) j["listener"] = s->cookie();
    if (s != nullptr && s->is_part()) {
      j["mode"] = "part";
    } else if (s != nullptr) {
      const Channel* user = s->user();
      j["mode"] = s->kernel_mode() ? "kernel" : s->in_passage() ? "passing" : user != nullptr ? "shared" : "server";
      const Socket::Passed passed = s->passed();
      j["receive_queue"] = info.receive_queue + passed.unread;
      j["passed_out"] = passed.out;
      j["passed_in"] = passed.in;
      const Socket::Copied copied = s->copied();
      j["copied_out"] = copied.out;
      j["copied_in"] = copied.in;
      j["referenced_out"] = copied.referenced_out;
      j["swapped_in"] = copied.swapped_in;
      j["swapped_pages"] = copied.swapped_pages;
      if (user != nullptr && (see_all || user->identity().uid == uid)) {
        j["pid"] = user->identity().pid;
        j["uid"] = user->identity().uid;
        j["process"] = process_name(user->identity().pid);
      }
    }
    out.add(first ? "" : ",");
    first = false;
    out.add(j.dump());
  }
};

// How much of the payload went without a copy.
json spared_copies(Engine& engine) {
  const Counters& c = engine.context().counters;
  uint64_t swapped_in = c.swapped_in, swapped_pages = c.swapped_pages;
  engine.sockets().for_each([&](const Socket& s) {
    const Socket::Copied copied = s.copied();
    swapped_in += copied.swapped_in;
    swapped_pages += copied.swapped_pages;
  });
  return {{"referenced_out", c.referenced_out}, {"placed_in_pages", c.placed_in_pages}, {"swapped_in", swapped_in}, {"swapped_pages", swapped_pages}};
}

// What an engine counts.
json counters_of(Engine& engine) {
  Context& ctx = engine.context();
  const Counters& c = ctx.counters;
  json j;
  j["tier2"] = {{"bytes_to_client", c.kernel_mode_in}, {"bytes_from_client", c.kernel_mode_out}, {"demotions", c.demotions}};
  j["copies"] = {{"place", c.copied_in_shared}, {"stage", c.copied_in_staged}, {"bring_home", c.copied_in_again},
                 {"gather", c.copied_out_staged}};
  uint64_t input = 0, channels = 0;
  engine.for_each_client([&](Client& client) {
    if (client.channel() == nullptr) return;
    ++channels;
    input += client.channel()->input_used();
  });
  j["memory"] = {{"staging_bytes", ctx.memory.staged_bytes()}, {"input_bytes", input}, {"channels", channels}};
  j["passing"] = spared_copies(engine);
  j["clients"] = c.clients;
  j["sockets"] = c.sockets;
  for_each_counter(c, [&](const char* name, uint64_t value) {
    std::string text = name;
    if (text.rfind("drop_", 0) == 0) {
      j["drops"][text.substr(5)] = value;
    } else {
      j["server"][text] = value;
    }
  });
  j["links"] = json::array();
  for (uint32_t i = 0; i < engine.stack().interface_count(); ++i) {
    const stack::InterfaceConfig& interface = *engine.stack().interface(i);
    json l = {{"address", to_string(interface.prefix.address) + "/" + std::to_string(interface.prefix.length)},
              {"mac", link::to_string(interface.mac)},
              {"mtu", interface.mtu},
              {"name", "loopback"}};
    if (i < engine.links().size() && engine.links()[i]) {
      const link::Link& link = *engine.links()[i];
      const link::Counters& n = link.counters();
      l["name"] = link.name();
      l["rx_frames"] = n.rx_frames, l["rx_bytes"] = n.rx_bytes, l["rx_dropped"] = n.rx_dropped, l["rx_errors"] = n.rx_errors;
      l["tx_frames"] = n.tx_frames, l["tx_bytes"] = n.tx_bytes, l["tx_dropped"] = n.tx_dropped, l["tx_errors"] = n.tx_errors;
    }
    j["links"].push_back(std::move(l));
  }
  StackCounters counters(j);
  engine.stack().for_each_counter(counters);
  json& summed = j["stack"]["payload_bytes_summed"];
  summed = (summed.is_null() ? 0 : summed.get<uint64_t>()) + engine.receiver().bytes_summed();
  return j;
}

// Numbers in `from` are added to their likes in `to`, but for those that are the same in all engines, or of all in the first.
void add_counts(json& to, const json& from) {
  for (auto& [name, value] : from.items()) {
    if (name == "mtu" || name == "clients" || name == "clients_total" || name == "channels") continue;
    if (value.is_object() && to[name].is_object()) {
      add_counts(to[name], value);
    } else if (value.is_array()) {
      for (size_t i = 0; i < value.size() && i < to[name].size(); ++i) add_counts(to[name][i], value[i]);
    } else if (value.is_number()) {
      to[name] = value.get<uint64_t>() + (to.contains(name) ? to[name].get<uint64_t>() : 0);
    }
  }
}

}  // namespace

Answer::Answer() : fd_(memfd_create("ferry-answer", MFD_CLOEXEC)), good_(fd_.valid()) {}

void Answer::add(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= kChunk) flush();
}

void Answer::flush() {
  for (size_t done = 0; good_ && done < buffer_.size();) {
    const ssize_t n = write(fd_.get(), buffer_.data() + done, buffer_.size() - done);
    good_ = n > 0;
    if (good_) done += static_cast<size_t>(n);
  }
  written_ += buffer_.size();
  buffer_.clear();
}

void Answer::add(const Answer& other) {
  char piece[kChunk];
  for (off_t at = 0;;) {
    const ssize_t n = pread(other.fd_.get(), piece, sizeof piece, at);
    if (n <= 0) return;
    add(std::string_view(piece, static_cast<size_t>(n)));
    at += n;
  }
}

bool Answer::send(ipc::control::Reply& reply, ipc::DescriptorList& fds) {
  flush();
  if (!good_) return false;
  lseek(fd_.get(), 0, SEEK_SET);
  reply.value = static_cast<uint32_t>(written_);
  return fds.add(std::move(fd_));
}

bool answer_with(const std::string& text, ipc::control::Reply& reply, ipc::DescriptorList& fds) {
  Answer answer;
  answer.add(text);
  return answer.send(reply, fds);
}

void refuse(Errc error, const std::string& sentence, ipc::control::Reply& reply) {
  reply.error = static_cast<uint32_t>(error);
  reply.data_length = static_cast<uint32_t>(std::min<size_t>(sentence.size(), ipc::control::kMaxData));
  std::memcpy(reply.data, sentence.data(), reply.data_length);
}

bool Admin::handle_admin(Client& client, const std::string& command, ipc::control::Reply& reply, ipc::DescriptorList& fds) {
  std::string verb = command.substr(0, command.find(' '));
  if (verb == "ping") {
    size_t space = command.find(' ');
    return pings_.start(client, space == std::string::npos ? "" : command.substr(space + 1), reply);
  }
  if (verb == "capture") {
    uid_t uid = client.credentials().uid;
    if (uid != 0 && uid != getuid()) return refuse(Errc::access, "only root may capture", reply), true;
    UniqueFd read_end = engine_.captures().start(engine_.links().empty() || !engine_.links()[0] ? "loopback" : engine_.links()[0]->name());
    if (!read_end) return refuse(Errc::too_many, "too many captures run already", reply), true;
    if (Engines* all = engine_.context().engines; all != nullptr)
      all->post_to_others(0, [](Engine& other) { other.captures().show_to_first(true); });
    fds.add(ipc::OwnedFd(read_end.release()));
    return true;
  }
  std::string text;
  if (verb == "stat") {
    if (engine_.context().engines != nullptr) return stat_of_all(client), false;
    text = stat().dump();
  } else if (verb == "ss") {
    const Asker asker = {client.credentials().uid};
    if (engine_.context().engines != nullptr) return ss_of_all(client, asker), false;
    Answer answer;
    answer.add("{\"sockets\":[");
    ss(engine_, asker, answer);
    answer.add("]}");
    if (!answer.send(reply, fds)) refuse(Errc::too_many, "no descriptors left", reply);
    return true;
  } else if (verb == "version") {
    text = json{{"version", kVersion}, {"pid", getpid()}}.dump();
  } else {
    return refuse(Errc::not_supported, "this ferryd knows no command '" + verb + "'", reply), true;
  }
  if (!answer_with(text, reply, fds)) refuse(Errc::too_many, "no descriptors left", reply);
  return true;
}

json Admin::stat() const {
  const Context& ctx = engine_.context();
  json j = counters_of(engine_);
  char instance[17];
  std::snprintf(instance, sizeof instance, "%016llx", static_cast<unsigned long long>(identity_->info.instance));
  j["version"] = kVersion;
  j["pid"] = getpid();
  j["uptime_ms"] = (ctx.now - engine_.started()).count_ms();
  j["instance"] = instance;
  const Calibration& k = calibration_;
  j["passing"].update({{"reference_bytes", k.reference_bytes}, {"swap_bytes", k.swap_bytes}, {"copy_ns_per_mib", k.copy_ns}, {"map_ns", k.map_ns},
                       {"look_ns", k.look_ns}, {"swap_ns", k.swap_ns}, {"protect_ns", k.protect_ns}, {"wake_ns", k.wake_ns},
                       {"cached", k.cached ? 1 : 0}});
  return j;
}

// The engines' counts together; what one of them has for all is the first one's.
void Admin::stat_of_all(const Client& client) {
  struct Counts {
    std::mutex mutex;
    std::vector<json> of_others;
  };
  auto counts = std::make_shared<Counts>();
  engine_.context().engines->ask_others(
      0,
      [counts](Engine& engine) {
        json j = counters_of(engine);
        std::lock_guard guard(counts->mutex);
        counts->of_others.push_back(std::move(j));
      },
      [this, counts, asker = client.serial()](Engine& engine) {
        json sum = stat();
        for (const json& other : counts->of_others) add_counts(sum, other);
        sum["engines"] = counts->of_others.size() + 1;
        Answer answer;
        answer.add(sum.dump());
        finish(engine, asker, answer);
      });
}

void Admin::ss_of_all(const Client& client, Asker asker) {
  struct Lists {
    std::mutex mutex;
    std::vector<std::unique_ptr<Answer>> of_others;
  };
  auto lists = std::make_shared<Lists>();
  engine_.context().engines->ask_others(
      0,
      [lists, asker](Engine& engine) {
        auto list = std::make_unique<Answer>();
        ss(engine, asker, *list);
        list->flush();
        std::lock_guard guard(lists->mutex);
        lists->of_others.push_back(std::move(list));
      },
      [lists, asker, serial = client.serial()](Engine& engine) {
        Answer answer;
        answer.add("{\"sockets\":[");
        bool any = ss(engine, asker, answer);
        for (const auto& list : lists->of_others) {
          if (list->empty()) continue;
          answer.add(any ? "," : "");
          answer.add(*list);
          any = true;
        }
        answer.add("]}");
        finish(engine, serial, answer);
      });
}

void Admin::finish(Engine& engine, uint64_t asker, Answer& answer) {
  ipc::control::Reply reply;
  ipc::DescriptorList fds;
  if (!answer.send(reply, fds)) refuse(Errc::too_many, "no descriptors left", reply);
  if (Client* client = engine.find_client(asker)) client->finish(reply, fds);
}

// Objects between commas. False: there is none.
bool Admin::ss(Engine& engine, Asker asker, Answer& answer) {
  engine.sockets().for_each([](Socket& s) { s.tell_passed(); });
  SocketLister lister(engine, asker.uid == 0 || asker.uid == getuid(), asker.uid, answer);
  engine.stack().for_each_socket(lister, engine.context().now);
  return !lister.first;
}

}  // namespace ferry::server
