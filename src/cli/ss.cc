// `ferry ss`: the sockets of ferryd in the columns of ss(8) -tunap.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin.h"
#include "cli/command.h"

namespace ferry::cli {
namespace {

struct Options {
  std::string socket;
  bool json = false, tcp = false, udp = false, listening = false, extended = false;
};

std::string text_of(const nlohmann::json& socket, const char* name) {
  const auto found = socket.find(name);
  if (found == socket.end()) return "-";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

// With several engines a listener has a part in each: one line, with all the connections that wait.
void fold_parts(nlohmann::json& sockets) {
  for (const auto& part : sockets) {
    if (text_of(part, "mode") != "part") continue;
    for (auto& socket : sockets)
      if (text_of(socket, "mode") != "part" && socket.contains("listener") && socket["listener"] == part["listener"])
        socket["receive_queue"] = socket["receive_queue"].get<uint64_t>() + part["receive_queue"].get<uint64_t>();
  }
  auto whole = nlohmann::json::array();
  for (auto& socket : sockets)
    if (text_of(socket, "mode") != "part") whole.push_back(std::move(socket));
  sockets = std::move(whole);
}

bool wanted(const Options& options, const nlohmann::json& socket) {
  const std::string type = text_of(socket, "type"), state = text_of(socket, "state");
  if ((options.tcp || options.udp) && !((options.tcp && type == "tcp") || (options.udp && type == "udp"))) return false;
  // As ss(8): a datagram socket without a peer "listens".
  return !options.listening || state == "LISTEN" || state == "UNCONN";
}

// users:(("nginx",pid=7)) mode:shared
std::string process_of(const nlohmann::json& socket) {
  std::string text;
  if (socket.contains("pid") && socket["pid"].is_number_integer() && socket["pid"].get<int64_t>() > 0) {
    text = "users:((\"" + text_of(socket, "process") + "\",pid=" + text_of(socket, "pid") + ")) ";
  }
  return text + "mode:" + text_of(socket, "mode");
}

// Bytes of payload by the way they went: copied by the program that uses it, referred to, in pages that were exchanged (and how many of
// these), past ferryd to another program.
std::string copies_of(const nlohmann::json& socket) {
  std::string text = socket.contains("engine") ? " engine:" + text_of(socket, "engine") : "";
  for (const char* name : {"copied_out", "copied_in", "referenced_out", "swapped_in", "swapped_pages", "passed_out", "passed_in"})
    text += std::string(" ") + name + ":" + text_of(socket, name);
  return text;
}

void print(const Options& options, const nlohmann::json& sockets) {
  constexpr const char* kFormat = "%-5s %-10s %7s %7s %23s %23s  %s\n";
  printf(kFormat, "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Process");
  for (const auto& socket : sockets) {
    if (!wanted(options, socket)) continue;
    printf(kFormat, text_of(socket, "type").c_str(), text_of(socket, "state").c_str(),
           text_of(socket, "receive_queue").c_str(), text_of(socket, "send_queue").c_str(),
           text_of(socket, "local").c_str(), text_of(socket, "remote").c_str(),
           (process_of(socket) + (options.extended ? copies_of(socket) : "")).c_str());
  }
}

}  // namespace

void add_ss(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("ss", "List the sockets of ferryd, like ss(8)");
  auto options = std::make_shared<Options>();
  add_socket_option(*command, options->socket);
  command->add_flag("-t,--tcp", options->tcp, "Only TCP");
  command->add_flag("-u,--udp", options->udp, "Only UDP");
  command->add_flag("-l,--listening", options->listening, "Only listeners and unconnected datagram sockets");
  command->add_flag("-e,--extended", options->extended, "Show bytes copied, referred to, exchanged by pages, and passed from program to program");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &status] {
    auto document = nlohmann::json::parse(Admin(options->socket).ask_text("ss"), nullptr, false);
    if (document.is_discarded() || !document.contains("sockets") || !document["sockets"].is_array()) {
      throw Failure(kFailed, "ferryd's answer is not a list of sockets");
    }
    fold_parts(document["sockets"]);
    if (options->json) {
      auto chosen = nlohmann::json::array();
      for (const auto& socket : document["sockets"]) {
        if (wanted(*options, socket)) chosen.push_back(socket);
      }
      printf("%s\n", nlohmann::json{{"sockets", chosen}}.dump(2).c_str());
    } else {
      print(*options, document["sockets"]);
    }
    status = 0;
  });
}

}  // namespace ferry::cli
