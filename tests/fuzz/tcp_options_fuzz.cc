// TCP options: parsing is total, what is understood is emitted in aligned form and understood the same again.
#include "fuzz_input.h"
#include "wire/tcp_options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry;
  fuzz::FuzzInput in(data, size);
  auto options = wire::TcpOptions::parse(in.bytes(64));
  if (!options) return 0;
  fuzz::check(options->sack_count <= options->sacks.size());
  std::byte out[64];
  const size_t length = options->size();
  fuzz::check(length % 4 == 0 && length <= sizeof out);
  options->emit(out);
  auto again = wire::TcpOptions::parse(ByteSpan(out, length));
  fuzz::check(again.ok() && *again == *options);
  wire::TcpOptions limited = *options;
  limited.limit_sacks(4);
  fuzz::check(limited.size() <= wire::TcpOptions::kMaxBytes);
  return 0;
}
