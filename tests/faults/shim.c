/* Makes the operating system fail at a chosen moment: preloaded (LD_PRELOAD), told by the environment, idle without it.
 *
 * A moment is a call that changes files below a folder, counted from 1: open (to write), write, rename, link, unlink,
 * truncate, sync, mkdir. Whether a path lies below is asked of the kernel (/proc/self/fd) for open files.
 *
 *   FAULT_ROOT  the folder; FAULT_OPS  which calls count, separated by commas (all that change files, when empty;
 *               those that open one to read it, `read`, count only when they are named)
 *   FAULT_AT    which of them fails; FAULT_ON=1  and all that follow
 *   FAULT_ACT   log (nothing fails), kill, torn (a write does half of its work, then kill), or the number of an errno
 *   FAULT_LOG   a file that gets a line for each counted call
 *   FAULT_ONCE  a file that is made by whoever fails: nobody fails when it is there
 *   FAULT_JUMP  seconds that the clock jumps at the moment
 *   FAULT_LATE  seconds for which a new file is not seen, as on a network file system (any file below the folder)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int counted;
static volatile int jumped;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

static int below(const char *path) {
    const char *root = getenv("FAULT_ROOT");
    size_t length = root ? strlen(root) : 0;
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int path_of(int file, char *path) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0 && path[0] == '/';
}

/* Writes the absolute form of a path that is relative to an open folder. */
static int absolute(int folder, const char *path, char *full) {
    char base[PATH_MAX];
    if (!path) return 0;
    if (path[0] == '/') return snprintf(full, PATH_MAX, "%s", path) < PATH_MAX;
    if (folder == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of(folder, base)) return 0;
    return snprintf(full, PATH_MAX, "%s/%s", base, path) < PATH_MAX;
}

/* Counts a call; returns 0 to go on, -1 to tear (do half and then die), or the errno to fail with. Dies for `kill`. */
static int moment(const char *op, const char *path) {
    const char *act = getenv("FAULT_ACT");
    if (!act || !below(path)) return 0;
    const char *ops = getenv("FAULT_OPS");
    if (!(ops && *ops)) {
        if (!strcmp(op, "read")) return 0;
    } else {
        char list[256], word[64];
        snprintf(list, sizeof list, ",%s,", ops);
        snprintf(word, sizeof word, ",%s,", op);
        if (!strstr(list, word)) return 0;
    }
    int number = __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
    const char *log = getenv("FAULT_LOG");
    if (log) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%s %s\n", op, path);
        int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        syscall(SYS_write, file, line, length);
        syscall(SYS_close, file);
    }
    const char *at = getenv("FAULT_AT"), *on = getenv("FAULT_ON"), *once = getenv("FAULT_ONCE");
    int chosen = at ? atoi(at) : 0;
    if (!chosen || (number != chosen && !(on && number > chosen))) return 0;
    if (once && (number == chosen || !on)) {
        int file = syscall(SYS_openat, AT_FDCWD, once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file < 0) return 0;
        syscall(SYS_close, file);
    }
    if (getenv("FAULT_JUMP")) jumped = 1;
    if (!strcmp(act, "kill")) kill(getpid(), SIGKILL);
    if (!strcmp(act, "torn")) return -1;
    return atoi(act);
}

static int moment_at(const char *op, int folder, const char *path) {
    char full[PATH_MAX];
    return getenv("FAULT_ACT") && absolute(folder, path, full) ? moment(op, full) : 0;
}

static int moment_of(const char *op, int file) {
    char path[PATH_MAX];
    return getenv("FAULT_ACT") && path_of(file, path) ? moment(op, path) : 0;
}

static ssize_t fail(int number) {
    errno = number;
    return -1;
}

static void die(void) { kill(getpid(), SIGKILL); }

#define CHANGES(op, folder, path) \
    do { \
        int failed = moment_at(op, folder, path); \
        if (failed < 0) die(); \
        if (failed) return fail(failed); \
    } while (0)

/* --- files are opened to be written */

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    } \
    int writes = ((flags) & O_ACCMODE) != O_RDONLY

static int late(const char *path, int folder);

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        MODE(flags); \
        if (!writes && late(path, AT_FDCWD)) return fail(ENOENT); \
        CHANGES(writes ? "open" : "read", AT_FDCWD, path); \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        MODE(flags); \
        if (!writes && late(path, folder)) return fail(ENOENT); \
        CHANGES(writes ? "open" : "read", folder, path); \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        int failed = moment_at(strpbrk(mode, "wa+") ? "open" : "read", AT_FDCWD, path); \
        if (failed < 0) die(); \
        if (failed) return errno = failed, NULL; \
        return real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* --- and written; a torn or a full disk takes half */

#define WRITES(half) \
    int failed = moment_of("write", file); \
    if (failed < 0) { \
        half; \
        die(); \
    } \
    if (failed) return fail(failed)

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    WRITES(real(file, data, size / 2));
    return real(file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
    REAL(pwrite);
    WRITES(real(file, data, size / 2, place));
    return real(file, data, size, place);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    REAL(pwrite64);
    WRITES(real(file, data, size / 2, place));
    return real(file, data, size, place);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    WRITES(real(file, parts, count / 2));
    return real(file, parts, count);
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    REAL(fwrite);
    int failed = moment_of("write", fileno(stream));
    if (failed < 0) {
        real(data, size, count / 2, stream);
        fflush(stream);
        die();
    }
    if (failed) return errno = failed, 0;
    return real(data, size, count, stream);
}

ssize_t sendfile(int file, int from, off_t *place, size_t size) {
    REAL(sendfile);
    WRITES(real(file, from, place, 1));
    return real(file, from, place, size);
}

ssize_t sendfile64(int file, int from, off64_t *place, size_t size) {
    REAL(sendfile64);
    WRITES(real(file, from, place, 1));
    return real(file, from, place, size);
}

ssize_t copy_file_range(int from, off64_t *there, int file, off64_t *here, size_t size, unsigned flags) {
    REAL(copy_file_range);
    WRITES(real(from, there, file, here, 1, flags));
    return real(from, there, file, here, size, flags);
}

int fsync(int file) {
    REAL(fsync);
    int failed = moment_of("sync", file);
    if (failed < 0) die();
    return failed ? fail(failed) : real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    int failed = moment_of("sync", file);
    if (failed < 0) die();
    return failed ? fail(failed) : real(file);
}

int ftruncate(int file, off_t size) {
    REAL(ftruncate);
    int failed = moment_of("truncate", file);
    if (failed < 0) die();
    return failed ? fail(failed) : real(file, size);
}

int ftruncate64(int file, off64_t size) {
    REAL(ftruncate64);
    int failed = moment_of("truncate", file);
    if (failed < 0) die();
    return failed ? fail(failed) : real(file, size);
}

/* --- names change */

int rename(const char *from, const char *to) {
    REAL(rename);
    CHANGES("rename", AT_FDCWD, to);
    return real(from, to);
}

int renameat(int folder, const char *from, int other, const char *to) {
    REAL(renameat);
    CHANGES("rename", other, to);
    return real(folder, from, other, to);
}

int link(const char *from, const char *to) {
    REAL(link);
    CHANGES("link", AT_FDCWD, to);
    return real(from, to);
}

int symlink(const char *from, const char *to) {
    REAL(symlink);
    CHANGES("link", AT_FDCWD, to);
    return real(from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    CHANGES("unlink", AT_FDCWD, path);
    return real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    CHANGES("unlink", folder, path);
    return real(folder, path, flags);
}

int rmdir(const char *path) {
    REAL(rmdir);
    CHANGES("unlink", AT_FDCWD, path);
    return real(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    CHANGES("mkdir", AT_FDCWD, path);
    return real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    CHANGES("mkdir", folder, path);
    return real(folder, path, mode);
}

/* --- the clock jumps */

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int status = real(clock, time);
    if (jumped && !status && clock == CLOCK_REALTIME) time->tv_sec += atoi(getenv("FAULT_JUMP") ?: "0");
    return status;
}

/* --- what another machine wrote is seen late */

static int is_late(const struct stat *status) {
    const char *seconds = getenv("FAULT_LATE");
    struct timespec now;
    if (!seconds || !S_ISREG(status->st_mode)) return 0;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    double age = now.tv_sec - status->st_ctim.tv_sec + (now.tv_nsec - status->st_ctim.tv_nsec) / 1e9;
    return age < atof(seconds);
}

static int late(const char *path, int folder) {
    char full[PATH_MAX];
    struct stat status;
    if (!getenv("FAULT_LATE") || !absolute(folder, path, full) || !below(full)) return 0;
    if (syscall(SYS_newfstatat, folder, path, &status, 0)) return 0;
    return is_late(&status);
}

#define STAT(name, kind) \
    int name(const char *path, struct kind *status) { \
        REAL(name); \
        return late(path, AT_FDCWD) ? fail(ENOENT) : real(path, status); \
    }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

int fstatat(int folder, const char *path, struct stat *status, int flags) {
    REAL(fstatat);
    return late(path, folder) ? fail(ENOENT) : real(folder, path, status, flags);
}

int fstatat64(int folder, const char *path, struct stat64 *status, int flags) {
    REAL(fstatat64);
    return late(path, folder) ? fail(ENOENT) : real(folder, path, status, flags);
}

int access(const char *path, int mode) {
    REAL(access);
    return late(path, AT_FDCWD) ? fail(ENOENT) : real(path, mode);
}
