#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

/* File descriptors that are tried, beyond the three of the standard streams. */
enum { DESCRIPTORS = 64 };

static char *write_to;
static size_t room_left;

static void say(const char *text) {
  size_t length = strlen(text);
  if (length >= room_left) abort();
  memcpy(write_to, text, length + 1);
  write_to += length;
  room_left -= length;
}

static void say_number(const char *name, unsigned long long value) {
  char line[128];
  snprintf(line, sizeof line, "\"%s\":%llu,", name, value);
  say(line);
}

/* ---- files ---- */

static bool any_name;

static void name_if(bool succeeded, const char *deed) {
  if (!succeeded) return;
  if (any_name) say(",");
  any_name = true;
  say("\"");
  say(deed);
  say("\"");
}

static bool opens(const char *path, int flags) {
  int fd = open(path, flags, 0600);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

/* The deeds on files that succeed, by name. */
static void say_files(void) {
  struct stat found;
  any_name = false;
  say("\"files\":[");
  name_if(opens("/etc/passwd", O_RDONLY), "read /etc/passwd");
  name_if(opens("/proc/self/environ", O_RDONLY), "read /proc/self/environ");
  name_if(opens(".", O_RDONLY | O_DIRECTORY), "open .");
  name_if(opens("../../../../etc/hostname", O_RDONLY), "read upwards");
  name_if(opens("new", O_WRONLY | O_CREAT), "create");
  name_if(opens("/dev/urandom", O_RDONLY), "read /dev/urandom");
  name_if(mkdir("folder", 0700) == 0, "mkdir");
  name_if(unlink("new") == 0, "unlink");
  name_if(rename("a", "b") == 0, "rename");
  name_if(symlink("/etc", "link") == 0, "symlink");
  name_if(stat("/", &found) == 0, "stat /");
  /* And past libc, which looks for a prepared folder first. */
  for (int fd = 0; fd < DESCRIPTORS; fd++) {
    __wasi_fd_t opened;
    name_if(__wasi_path_open(fd, 0, "etc/passwd", 0, __WASI_RIGHTS_FD_READ, 0, 0, &opened) == 0, "path_open");
    name_if(__wasi_path_create_directory(fd, "x") == 0, "path_create_directory");
    __wasi_filestat_t file;
    name_if(__wasi_path_filestat_get(fd, 0, ".", &file) == 0, "path_filestat_get");
  }
  say("],");
}

static unsigned prepared_folders(void) {
  unsigned found = 0;
  for (int fd = 0; fd < DESCRIPTORS; fd++) {
    __wasi_prestat_t folder;
    found += __wasi_fd_prestat_get(fd, &folder) == 0;
  }
  return found;
}

/* Descriptors beyond the standard streams that are open. */
static unsigned open_descriptors(void) {
  unsigned found = 0;
  for (int fd = 3; fd < DESCRIPTORS; fd++) {
    __wasi_fdstat_t state;
    found += __wasi_fd_fdstat_get(fd, &state) == 0;
  }
  return found;
}

/* ---- sockets: preview 1 has no way to make one, so all that could be there is handed in. The adapter to WASI
 * 0.2 traps where a module asks at all. ---- */

static void look_for_sockets(void) {
  unsigned found = 0;
  for (int fd = 0; fd < DESCRIPTORS; fd++) {
    __wasi_fd_t accepted;
    char byte;
    __wasi_iovec_t in = {(uint8_t *)&byte, 1};
    __wasi_ciovec_t out = {(const uint8_t *)"x", 1};
    __wasi_size_t length;
    __wasi_roflags_t flags;
    found += __wasi_sock_accept(fd, 0, &accepted) == 0;
    found += __wasi_sock_recv(fd, &in, 1, 0, &length, &flags) == 0;
    found += __wasi_sock_send(fd, &out, 1, 0, &length) == 0;
    found += __wasi_sock_shutdown(fd, __WASI_SDFLAGS_RD) == 0;
  }
  say("{");
  say_number("found", found);
  say("\"ok\":true}");
}

/* ---- arguments, environment, clocks, random ---- */

static unsigned arguments(void) {
  __wasi_size_t count = 0, bytes = 0;
  return __wasi_args_sizes_get(&count, &bytes) == 0 ? count : 0;
}

static unsigned variables(void) {
  __wasi_size_t count = 0, bytes = 0;
  return __wasi_environ_sizes_get(&count, &bytes) == 0 ? count : 0;
}

static unsigned long long now(__wasi_clockid_t clock) {
  __wasi_timestamp_t time = 0;
  return __wasi_clock_time_get(clock, 1, &time) == 0 ? time : 0;
}

static unsigned long long resolution(__wasi_clockid_t clock) {
  __wasi_timestamp_t step = 0;
  return __wasi_clock_res_get(clock, &step) == 0 ? step : 0;
}

/* How often a clock shows another time than before, over some work. */
static unsigned steps(__wasi_clockid_t clock) {
  unsigned found = 0;
  unsigned long long last = now(clock);
  for (int n = 0; n < 2000; n++) {
    unsigned long long time = now(clock);
    found += time != last;
    last = time;
  }
  return found;
}

static bool random_repeats(void) {
  unsigned char one[32] = {0}, other[32] = {0};
  if (__wasi_random_get(one, sizeof one) != 0 || __wasi_random_get(other, sizeof other) != 0) return true;
  return memcmp(one, other, sizeof one) == 0;
}

static void look(void) {
  say("{");
  say_number("arguments", arguments());
  say_number("environment", variables());
  say_files();
  say_number("folders", prepared_folders());
  say_number("descriptors", open_descriptors());
  say_number("realtime", now(__WASI_CLOCKID_REALTIME));
  say_number("realtimeResolution", resolution(__WASI_CLOCKID_REALTIME));
  say_number("realtimeSteps", steps(__WASI_CLOCKID_REALTIME));
  say_number("monotonicResolution", resolution(__WASI_CLOCKID_MONOTONIC));
  say_number("monotonicSteps", steps(__WASI_CLOCKID_MONOTONIC));
  say_number("stdinLeft", (unsigned long long)getchar() + 1);
  say(random_repeats() ? "\"randomRepeats\":true}" : "\"randomRepeats\":false}");
}

/* ---- deeds that a host must bear ---- */

static void flood(int fd, unsigned megabytes) {
  static char block[64 * 1024];
  memset(block, 'x', sizeof block);
  unsigned long long written = 0;
  for (unsigned n = 0; n < megabytes * 16; n++) {
    ssize_t length = write(fd, block, sizeof block);
    if (length <= 0) break;
    written += (unsigned long long)length;
  }
  say("{");
  say_number("written", written);
  say("\"errno\":");
  char code[16];
  snprintf(code, sizeof code, "%d}", errno);
  say(code);
}

static void random_flood(unsigned megabytes) {
  static unsigned char block[64 * 1024];
  unsigned long long drawn = 0;
  for (unsigned n = 0; n < megabytes * 16; n++) {
    if (__wasi_random_get(block, sizeof block) != 0) break;
    drawn += sizeof block;
  }
  say("{");
  say_number("drawn", drawn);
  say("\"ok\":true}");
}

static void nap(unsigned milliseconds) {
  struct timespec time = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
  say(nanosleep(&time, NULL) == 0 ? "{\"slept\":true}" : "{\"slept\":false}");
}

static void wait_for_a_tick(void) {
  unsigned long long start = now(__WASI_CLOCKID_MONOTONIC);
  while (now(__WASI_CLOCKID_MONOTONIC) == start) continue;
  say("{\"ticked\":true}");
}

/* What descriptors bear: none of it may do more than fail. */
static void juggle(void) {
  unsigned good = 0;
  for (int fd = 0; fd < DESCRIPTORS; fd++) {
    if (fd == 1) continue;
    __wasi_filesize_t at;
    good += __wasi_fd_seek(fd, 1, __WASI_WHENCE_SET, &at) == 0;
    good += __wasi_fd_tell(fd, &at) == 0;
    good += __wasi_fd_allocate(fd, 0, 1ull << 40) == 0;
    good += __wasi_fd_filestat_set_size(fd, 1ull << 40) == 0;
    good += __wasi_fd_renumber(fd, fd + 1000) == 0;
  }
  say("{");
  say_number("succeeded", good);
  say("\"ok\":true}");
}

void probe(const char *input, char *output, size_t room) {
  unsigned number = 0;
  write_to = output;
  room_left = room;
  if (strcmp(input, "\"look\"") == 0) look();
  else if (strcmp(input, "\"sockets\"") == 0) look_for_sockets();
  else if (sscanf(input, "\"exit %u\"", &number) == 1) exit((int)number);
  else if (strcmp(input, "\"abort\"") == 0) abort();
  else if (strcmp(input, "\"tick\"") == 0) wait_for_a_tick();
  else if (strcmp(input, "\"juggle\"") == 0) juggle();
  else if (sscanf(input, "\"sleep %u\"", &number) == 1) nap(number);
  else if (sscanf(input, "\"stdout %u\"", &number) == 1) flood(STDOUT_FILENO, number);
  else if (sscanf(input, "\"stderr %u\"", &number) == 1) flood(STDERR_FILENO, number);
  else if (sscanf(input, "\"random %u\"", &number) == 1) random_flood(number);
  else if (strcmp(input, "\"spawn\"") == 0) say("null");
  else say("\"what?\"");
}
