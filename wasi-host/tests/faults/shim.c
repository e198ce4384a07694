/* Fails calls of the C library, for tests/faults.rs: PICOLM_FAIL="NAME FIRST COUNT ERRNO" fails COUNT calls of NAME (0: all) from the
 * FIRST on (1 is the first). PICOLM_FAIL_COUNTS=FILE has the number of calls of each name written there at the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each with what it returns where it fails. */
#define NAMES(X) \
    X(mmap, -1) X(mprotect, -1) X(memfd_create, -1) X(ftruncate, -1) X(ftruncate64, -1) X(open, -1) X(open64, -1) X(openat, -1) \
    X(openat64, -1) X(read, -1) X(pread, -1) X(pread64, -1) X(write, -1) X(writev, -1) X(fsync, -1) X(rename, -1) X(unlink, -1) \
    X(mkdir, -1) X(opendir, 0) X(statx, -1) X(futimens, -1) X(socket, -1) X(accept4, -1) X(send, -1) X(epoll_wait, -1) \
    X(epoll_ctl, -1) X(eventfd, -1) X(pthread_create, error)

enum {
#define X(name, failed) name##_,
    NAMES(X)
#undef X
    KINDS
};

static const char *const names[KINDS] = {
#define X(name, failed) #name,
    NAMES(X)
#undef X
};

static atomic_ulong calls[KINDS];
static int failing = -1, error;
static unsigned long first, count;

__attribute__((constructor)) static void begin(void) {
    const char *plan = getenv("PICOLM_FAIL");
    char name[32];
    if (plan && sscanf(plan, "%31s %lu %lu %d", name, &first, &count, &error) == 4)
        for (int i = 0; i < KINDS; i++)
            if (!strcmp(names[i], name)) failing = i;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("PICOLM_FAIL_COUNTS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    for (int i = 0; i < KINDS; i++) fprintf(file, "%s %lu\n", names[i], (unsigned long)calls[i]);
    fclose(file);
}

static int fails(int kind) {
    unsigned long call = atomic_fetch_add(&calls[kind], 1) + 1;
    return kind == failing && call >= first && (count == 0 || call < first + count);
}

/* All of these take at most six words, in registers, and return one. */
typedef intptr_t (*real_call)(intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t);

#define X(name, failed) \
    intptr_t fail_##name(intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t) __asm__(#name); \
    intptr_t fail_##name(intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f) { \
        static _Atomic(real_call) real; \
        if (!real) real = (real_call)dlsym(RTLD_NEXT, #name); \
        if (fails(name##_)) { \
            errno = error; \
            return failed; \
        } \
        return real(a, b, c, d, e, f); \
    }
NAMES(X)
#undef X
