// What kind of program a file is.
#include "preload/exec_target.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace ferry::preload {
namespace {

class ExecTargetTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ferry-exec-XXXXXX";
    folder_ = mkdtemp(name);
  }
  void TearDown() override {
    for (const std::string& path : files_) unlink(path.c_str());
    rmdir(folder_.c_str());
  }
  std::string file(const std::string& name, const std::string& content, mode_t mode = 0755) {
    std::string path = folder_ + "/" + name;
    int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0700);
    EXPECT_EQ(write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    close(fd);
    chmod(path.c_str(), mode);
    files_.push_back(path);
    return path;
  }
  // An ELF program with or without an interpreter.
  static std::string elf(uint8_t elf_class, uint16_t machine, const char* interpreter) {
    Elf64_Ehdr header{};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = elf_class;
    header.e_machine = machine;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phoff = sizeof(header);
    header.e_phnum = interpreter != nullptr ? 1 : 0;
    std::string text(reinterpret_cast<char*>(&header), sizeof(header));
    if (interpreter == nullptr) return text;
    Elf64_Phdr program{};
    program.p_type = PT_INTERP;
    program.p_offset = sizeof(header) + sizeof(program);
    program.p_filesz = strlen(interpreter) + 1;
    text.append(reinterpret_cast<char*>(&program), sizeof(program));
    return text.append(interpreter, program.p_filesz);
  }
  static constexpr const char* kLoader = "/lib64/ld-linux-x86-64.so.2";

  std::string folder_;
  std::vector<std::string> files_;
};

TEST_F(ExecTargetTest, OrdinaryProgramsAndScriptsLoadFerry) {
  EXPECT_EQ(inspect_exec_target("/bin/sh"), ExecTarget::loads_ferry);
  EXPECT_EQ(inspect_exec_target(file("script", "#! /bin/sh -e\necho\n").c_str()), ExecTarget::loads_ferry);
  EXPECT_EQ(inspect_exec_target(file("elf", elf(ELFCLASS64, EM_X86_64, kLoader)).c_str()), ExecTarget::loads_ferry);
  EXPECT_EQ(inspect_exec_target(file("text", "echo for the shell\n").c_str()), ExecTarget::loads_ferry);
}

TEST_F(ExecTargetTest, StaticAndForeignProgramsDoNot) {
  std::string still = file("static", elf(ELFCLASS64, EM_X86_64, nullptr));
  EXPECT_EQ(inspect_exec_target(still.c_str()), ExecTarget::static_file);
  EXPECT_EQ(inspect_exec_target(file("arm", elf(ELFCLASS64, EM_AARCH64, kLoader)).c_str()), ExecTarget::foreign);
  EXPECT_EQ(inspect_exec_target(file("i386", elf(ELFCLASS32, EM_386, kLoader)).c_str()), ExecTarget::foreign);
  EXPECT_EQ(inspect_exec_target(file("musl", elf(ELFCLASS64, EM_X86_64, "/lib/ld-musl-x86_64.so.1")).c_str()),
            ExecTarget::foreign);
  EXPECT_EQ(inspect_exec_target(file("script", "#!" + still + "\n").c_str()), ExecTarget::static_file);
}

TEST_F(ExecTargetTest, SetUserIdProgramsAreNamed) {
  if (getuid() != 0) GTEST_SKIP() << "changing a file's owner needs root";
  std::string path = file("setuid", elf(ELFCLASS64, EM_X86_64, kLoader));
  ASSERT_EQ(chown(path.c_str(), 12345, 0), 0);
  chmod(path.c_str(), 04755);
  EXPECT_EQ(inspect_exec_target(path.c_str()), ExecTarget::privileged);
  chmod(path.c_str(), 0755);
  EXPECT_EQ(inspect_exec_target(path.c_str()), ExecTarget::loads_ferry);
}

TEST_F(ExecTargetTest, WhatCannotBeReadIsUnknownAndErrnoIsKept) {
  errno = 4711;
  EXPECT_EQ(inspect_exec_target((folder_ + "/none").c_str()), ExecTarget::unknown);
  EXPECT_EQ(errno, 4711);
  EXPECT_EQ(inspect_exec_target(file("empty", "").c_str()), ExecTarget::unknown);
  std::string loop = folder_ + "/loop";
  EXPECT_EQ(inspect_exec_target(file("loop", "#!" + loop + "\n").c_str()), ExecTarget::unknown);
}

TEST_F(ExecTargetTest, SearchesThePath) {
  EXPECT_EQ(find_executable("/some/where"), "/some/where");
  EXPECT_EQ(find_executable(""), "");
  file("only-here", "#!/bin/sh\n");
  std::string old = getenv("PATH") != nullptr ? getenv("PATH") : "";
  setenv("PATH", ("/nonexistent:" + folder_).c_str(), 1);
  EXPECT_EQ(find_executable("only-here"), folder_ + "/only-here");
  EXPECT_EQ(find_executable("not-there"), "");
  setenv("PATH", old.c_str(), 1);
}

}  // namespace
}  // namespace ferry::preload
