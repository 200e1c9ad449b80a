/* Loaded before the C library (LD_PRELOAD): takes the place of the calls that a ring makes, and counts
 * the processor's clock between the return of one and the entry of the next. That is the time in user
 * space alone, after a system call as in reality: with the processor's caches and its memory of
 * returns as the kernel has left them. Prints the nanoseconds of user space for each send. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Longer gaps are those in which the kernel or the host took the processor away. */
enum { LONGEST = 50000 };

static uint64_t left, counted, sends;
static uint64_t first_tick;
static struct timespec first_time;

static inline uint64_t ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void enter(void)
{
    uint64_t gap = ticks() - left;
    if (gap < LONGEST)
        counted += gap;
}

static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    enter();
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    left = ticks();
    if (result < 0) {
        errno = -result;
        return -1;
    }
    return result;
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    return call(SYS_recvfrom, fd, (long)buf, len, flags, 0, 0);
}

ssize_t read(int fd, void *buf, size_t len)
{
    return call(SYS_read, fd, (long)buf, len, 0, 0, 0);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
    sends++;
    return call(SYS_sendto, fd, (long)buf, len, flags, 0, 0);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    return call(SYS_poll, (long)fds, count, timeout, 0, 0, 0);
}

int select(int count, fd_set *reads, fd_set *writes, fd_set *others, struct timeval *timeout)
{
    return call(SYS_select, count, (long)reads, (long)writes, (long)others, (long)timeout, 0);
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    /* The kernel writes the time that is left. */
    struct timespec time = timeout ? *timeout : (struct timespec){ 0, 0 };
    return call(SYS_ppoll, (long)fds, count, (long)(timeout ? &time : NULL), (long)mask, 8, 0);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    return call(SYS_epoll_wait, fd, (long)events, count, timeout, 0, 0);
}

/* epoll_pwait2(2), which many C libraries do not have. */
long syscall(long number, ...)
{
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

__attribute__((constructor)) static void begin(void)
{
    clock_gettime(CLOCK_MONOTONIC, &first_time);
    first_tick = left = ticks();
}

__attribute__((destructor)) static void end(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    double nanoseconds = (time.tv_sec - first_time.tv_sec) * 1e9 + (time.tv_nsec - first_time.tv_nsec);
    double of_a_tick = nanoseconds / (ticks() - first_tick);
    if (sends > 0)
        fprintf(stderr, "between: %.2f\n", counted * of_a_tick / sends);
}
