/* The echo server: what every peer in C shares. */
#ifndef ECHO_H
#define ECHO_H

#define _GNU_SOURCE
#include <stddef.h>
#include <sys/socket.h>

static inline int echo_accept(int listener)
{
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* Receives and sends back. 0 if the connection has ended. Messages are small, and
 * the client waits for each, so there is always room. */
static inline int echo_serve(int fd)
{
    char buffer[8192];
    ssize_t received = recv(fd, buffer, sizeof buffer, 0);
    if (received <= 0)
        return received < 0;
    send(fd, buffer, received, MSG_NOSIGNAL);
    return 1;
}

#endif
