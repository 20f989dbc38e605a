#include "tcp/isn.h"

namespace ferry::tcp {
namespace {

size_t put_address(std::array<std::byte, 36>& to, size_t at, const wire::IpAddress& a) {
  for (uint8_t octet : a.octets) to[at++] = std::byte{octet};
  return at;
}

}  // namespace

SeqNum initial_sequence(Instant now, const SipKey& key, const wire::Endpoint& local, const wire::Endpoint& remote) {
  std::array<std::byte, 36> input{};
  size_t at = put_address(input, 0, local.address);
  at = put_address(input, at, remote.address);
  store_be16(input, at, local.port);
  store_be16(input, at + 2, remote.port);
  uint32_t clock = static_cast<uint32_t>(now.us() / 4);
  return SeqNum(static_cast<uint32_t>(siphash(key, input)) + clock);
}

uint32_t timestamp_offset(const SipKey& key, const wire::IpAddress& local, const wire::IpAddress& remote) {
  std::array<std::byte, 36> input{};
  put_address(input, put_address(input, 0, local), remote);
  input[35] = std::byte{1};  // apart from the sequence numbers' hash of port 0
  return static_cast<uint32_t>(siphash(key, input) >> 32);
}

}  // namespace ferry::tcp
