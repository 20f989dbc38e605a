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
  // The header of an ELF program whose segments' headers follow at once.
  static Elf64_Ehdr elf_header(uint8_t elf_class, uint16_t machine, uint16_t segments) {
    Elf64_Ehdr header{};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = elf_class;
    header.e_machine = machine;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phoff = sizeof(header);
    header.e_phnum = segments;
    return header;
  }
  // An ELF program with or without an interpreter.
  static std::string elf(uint8_t elf_class, uint16_t machine, const char* interpreter) {
    const Elf64_Ehdr header = elf_header(elf_class, machine, interpreter != nullptr ? 1 : 0);
    std::string text(reinterpret_cast<const char*>(&header), sizeof(header));
    if (interpreter == nullptr) return text;
    Elf64_Phdr program{};
    program.p_type = PT_INTERP;
    program.p_offset = sizeof(header) + sizeof(program);
    program.p_filesz = strlen(interpreter) + 1;
    text.append(reinterpret_cast<char*>(&program), sizeof(program));
    return text.append(interpreter, program.p_filesz);
  }
  // A dynamically linked program with one PT_NOTE of one note, in front of or behind PT_INTERP.
  static std::string elf_with_note(const char* owner, uint32_t type, bool note_first) {
    const Elf64_Ehdr header = elf_header(ELFCLASS64, EM_X86_64, 2);
    const std::string interpreter(kLoader, strlen(kLoader) + 1);
    const std::string notes = note("GNU", NT_GNU_BUILD_ID, "12345678901") + note(owner, type, "build id");
    Elf64_Phdr programs[2]{};
    Elf64_Phdr& loader = programs[note_first ? 1 : 0];
    Elf64_Phdr& noted = programs[note_first ? 0 : 1];
    loader.p_type = PT_INTERP;
    loader.p_offset = sizeof(header) + sizeof(programs);
    loader.p_filesz = interpreter.size();
    noted.p_type = PT_NOTE;
    noted.p_offset = loader.p_offset + loader.p_filesz;
    noted.p_filesz = notes.size();
    noted.p_align = 4;
    std::string text(reinterpret_cast<const char*>(&header), sizeof(header));
    return text.append(reinterpret_cast<char*>(programs), sizeof(programs)).append(interpreter).append(notes);
  }
  static std::string note(const std::string& owner, uint32_t type, const std::string& content) {
    const Elf64_Nhdr header{static_cast<uint32_t>(owner.size() + 1), static_cast<uint32_t>(content.size()), type};
    std::string text(reinterpret_cast<const char*>(&header), sizeof(header));
    text.append(owner).append(4 - owner.size() % 4, '\0').append(content);
    return text.append((4 - text.size() % 4) % 4, '\0');
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

TEST_F(ExecTargetTest, GoProgramsAreKnownByTheirBuildId) {
  EXPECT_EQ(inspect_exec_target(file("go", elf_with_note("Go", 4, false)).c_str()), ExecTarget::go);
  EXPECT_EQ(inspect_exec_target(file("first", elf_with_note("Go", 4, true)).c_str()), ExecTarget::go);
  EXPECT_EQ(inspect_exec_target(file("other", elf_with_note("Gox", 4, true)).c_str()), ExecTarget::loads_ferry);
  EXPECT_EQ(inspect_exec_target(file("type", elf_with_note("Go", 3, true)).c_str()), ExecTarget::loads_ferry);
}

TEST_F(ExecTargetTest, DamagedNotesAreNoGo) {
  std::string program = elf_with_note("Go", 4, true);
  Elf64_Phdr noted;
  memcpy(&noted, program.data() + sizeof(Elf64_Ehdr), sizeof(noted));
  const auto changed = [&](size_t at, uint32_t value) {
    std::string copy = program;
    memcpy(copy.data() + noted.p_offset + at, &value, sizeof(value));
    return file("damaged", copy);
  };
  EXPECT_EQ(inspect_exec_target(changed(0, 0xffffffff).c_str()), ExecTarget::loads_ferry);  // the first note's owner
  EXPECT_EQ(inspect_exec_target(changed(4, 0xfffffff0).c_str()), ExecTarget::loads_ferry);  // its content
  EXPECT_EQ(inspect_exec_target(file("short", program.substr(0, noted.p_offset + 30)).c_str()), ExecTarget::loads_ferry);
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
