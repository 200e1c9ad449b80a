/* The echo server by hand, over each system call. */
#include "echo.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

void raw_poll_echo(int listener)
{
    int count = 1, room = 64;
    struct pollfd *fds = malloc(room * sizeof *fds);
    fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        int ready = poll(fds, count, -1);
        /* Downwards: removing one moves the last into its place. */
        for (int i = count - 1; ready > 0 && i > 0; i--) {
            if (!fds[i].revents)
                continue;
            ready--;
            if (!echo_serve(fds[i].fd)) {
                close(fds[i].fd);
                fds[i] = fds[--count];
            }
        }
        if (!fds[0].revents)
            continue;
        for (int fd; (fd = echo_accept(listener)) >= 0;) {
            if (count == room)
                fds = realloc(fds, (room *= 2) * sizeof *fds);
            fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
}

enum { BITS = 8 * sizeof(unsigned long), WORDS = 65536 / BITS };

void raw_select_echo(int listener)
{
    static unsigned long wanted[WORDS], found[WORDS];
    int highest = listener;
    wanted[listener / BITS] |= 1UL << (listener % BITS);
    for (;;) {
        memcpy(found, wanted, (highest / BITS + 1) * sizeof *wanted);
        int ready = select(highest + 1, (fd_set *)found, NULL, NULL, NULL);
        for (int word = 0; ready > 0 && word <= highest / BITS; word++) {
            for (; found[word]; found[word] &= found[word] - 1) {
                int fd = word * BITS + __builtin_ctzl(found[word]);
                ready--;
                if (fd == listener) {
                    while ((fd = echo_accept(listener)) >= 0) {
                        wanted[fd / BITS] |= 1UL << (fd % BITS);
                        if (fd > highest)
                            highest = fd;
                    }
                } else if (!echo_serve(fd)) {
                    wanted[word] &= ~(found[word] & -found[word]);
                    close(fd);
                }
            }
        }
    }
}

void raw_epoll_echo(int listener)
{
    static struct epoll_event events[256];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = echo_accept(listener)) >= 0) {
                    event.data.fd = fd;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                }
            } else if (!echo_serve(fd)) {
                close(fd);
            }
        }
    }
}
