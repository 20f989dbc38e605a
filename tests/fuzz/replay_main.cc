// Runs a fuzzer's corpus where there is no libFuzzer: `fuzz_NAME [--mutations N] DIRECTORY…`. Every file is run as it is and in N
// seeded mutations (bits flipped, bytes set, cut, doubled), the same ones each time. Exit status 1 when there is no corpus.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <vector>

#include "base/rng.h"
#include "fuzz_input.h"

namespace {

using Bytes = std::vector<uint8_t>;

// In a heap block of its exact size, so that a sanitizer sees one byte too far.
void run(const Bytes& bytes) {
  const Bytes exact(bytes);
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

Bytes mutate(Bytes bytes, ferry::Rng& rng) {
  const auto at = [&] { return rng.below(static_cast<uint32_t>(bytes.size())); };
  for (uint32_t n = 1 + rng.below(4); n > 0 && !bytes.empty(); --n) {
    switch (rng.below(5)) {
      case 0: bytes[at()] ^= static_cast<uint8_t>(1u << rng.below(8)); break;
      case 1: bytes[at()] = static_cast<uint8_t>(rng.next()); break;
      case 2: bytes[at()] = rng.below(2) == 0 ? 0 : 0xff; break;
      case 3: bytes.resize(at()); break;
      default: {
        const Bytes copy(bytes.begin() + at(), bytes.end());
        if (bytes.size() < 65536) bytes.insert(bytes.begin() + at(), copy.begin(), copy.end());
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  int mutations = 0;
  std::set<std::filesystem::path> files;  // sorted: the same order everywhere
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--mutations") == 0 && i + 1 < argc) {
      mutations = std::atoi(argv[++i]);
      continue;
    }
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i], error))
      if (entry.is_regular_file()) files.insert(entry.path());
  }
  if (files.empty()) {
    std::fprintf(stderr, "no corpus: usage: %s [--mutations N] DIRECTORY...\n", argv[0]);
    return 1;
  }
  run({});
  for (const auto& path : files) {
    std::ifstream in(path, std::ios::binary);
    const Bytes bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    run(bytes);
    ferry::Rng rng(bytes.size());
    for (int i = 0; i < mutations; ++i) run(mutate(bytes, rng));
  }
  std::printf("%zu inputs, %d mutations of each\n", files.size(), mutations);
  return 0;
}
