// Runs the packet scripts named on the command line; fails if one does.
#include <cstdio>
#include <fstream>
#include <sstream>

#include "support/tcp_script.h"

int main(int argc, char** argv) {
  int failed = argc < 2 ? 1 : 0;
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i]);
    std::ostringstream text;
    text << file.rdbuf();
    ferry::tcp::testing::TcpScript script;
    std::string why = text.str().empty() ? "empty or unreadable" : script.run(text.str());
    if (why.empty()) continue;
    std::printf("%s: %s\n", argv[i], why.c_str());
    ++failed;
  }
  std::printf("%d of %d scripts failed\n", failed, argc - 1);
  return failed == 0 ? 0 : 1;
}
