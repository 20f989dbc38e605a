// The grammar of link names: KIND:INTERFACE[,OPTION…].
#include "link/open.h"

#include "link/fanout.h"
#include "link/packet.h"
#include "link/tap.h"
#include "link/xdp.h"

namespace ferry::link {

Outcome<std::unique_ptr<Link>> open(std::string_view spec, const Options& options) {
  using Fail = Outcome<std::unique_ptr<Link>>;
  const size_t colon = spec.find(':');
  const std::string text(spec);
  if (colon == std::string_view::npos || colon + 1 == spec.size())
    return Fail::failure("\"" + text + "\" does not name a link: write KIND:INTERFACE, such as packet:veth0 or tap:ferry0");
  const std::string_view kind = spec.substr(0, colon);
  const std::string interface(spec.substr(colon + 1));
  if (kind == "packet") return open_packet(interface, options);
  if (options.gso_max_size != 0) return Fail::failure("a size of segments left to the interface (gso-max-size) is for packet links");
  if (kind == "tap") {
    if (options.interface_mac) return Fail::failure("a tap link has no second address to use: --mac interface is for packet links");
    return open_tap(interface, options);
  }
  if (kind == "xdp") return open_xdp(interface, options);
  return Fail::failure("unknown kind of link \"" + std::string(kind) + "\": there are packet, tap and xdp");
}

Outcome<std::vector<std::unique_ptr<Link>>> open_spread(std::string_view spec, const Options& options, uint32_t count) {
  using Result = Outcome<std::vector<std::unique_ptr<Link>>>;
  if (count > 1 && !spec.starts_with("packet:"))
    return Result::failure("only packet links spread flows over several engines, and " + std::string(spec) + " is none");
  std::vector<std::unique_ptr<Link>> links;
  std::vector<int> sockets;
  for (uint32_t i = 0; i < count; ++i) {
    auto link = open(spec, options);
    if (!link) return Result::failure(link.error());
    sockets.push_back((*link)->poll_fd());
    links.push_back(std::move(*link));
  }
  if (count > 1)
    if (std::string why = join_fanout(sockets); !why.empty()) return Result::failure(why);
  return Result(std::move(links));
}

std::optional<wire::MacAddress> parse_mac(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  wire::MacAddress mac;
  for (size_t i = 0; i < 6; ++i) {
    const int high = digit(text[3 * i]), low = digit(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':')) return std::nullopt;
    mac.octets[i] = static_cast<uint8_t>(high * 16 + low);
  }
  if (mac.is_group() || mac.is_zero()) return std::nullopt;
  return mac;
}

std::string to_string(const wire::MacAddress& mac) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string s;
  for (const uint8_t octet : mac.octets) {
    if (!s.empty()) s += ':';
    s += kDigits[octet >> 4];
    s += kDigits[octet & 15];
  }
  return s;
}

}  // namespace ferry::link
