/* Preloaded into a process: name lookups and internet connections are written down and refused. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *what) {
    int log = open(getenv("LOOKUPS"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    dprintf(log, "%s\n", what ? what : "(no name)");
    close(log);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    (void)service, (void)hints, (void)found;
    note(name);
    return EAI_FAIL;
}

int connect(int end, const struct sockaddr *to, socklen_t length) {
    if (to->sa_family == AF_INET || to->sa_family == AF_INET6) {
        note("a connection");
        errno = ENETUNREACH;
        return -1;
    }
    int (*real)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    return real(end, to, length);
}
