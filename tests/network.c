/* Preloaded into a process and all that it starts: whoever wants to reach another machine, or looks
 * up a name, gets no network, and a line in the file NETWORK_FILE. This machine itself can be
 * reached. The C library's own lookups do not pass here, but whoever asks for them does. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void tell(const char *what, const char *whom)
{
    char line[512];
    const char *path = getenv("NETWORK_FILE");
    int saved = errno;
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        int length = snprintf(line, sizeof line, "%s %s by %s\n", what, whom,
                              program_invocation_short_name);
        if (length > 0 && write(fd, line, (size_t)length) < 0)
            abort();
        close(fd);
    }
    errno = saved;
}

/* Whether this address is another machine's; its text goes to `shown`. */
static int is_far(const struct sockaddr *address, char *shown, socklen_t size)
{
    if (address && address->sa_family == AF_INET) {
        const struct in_addr *ip = &((const struct sockaddr_in *)address)->sin_addr;
        inet_ntop(AF_INET, ip, shown, size);
        return ntohl(ip->s_addr) >> 24 != 127 && ip->s_addr != INADDR_ANY;
    }
    if (address && address->sa_family == AF_INET6) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;
        inet_ntop(AF_INET6, ip, shown, size);
        return !IN6_IS_ADDR_LOOPBACK(ip) && !IN6_IS_ADDR_UNSPECIFIED(ip)
            && !(IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
    }
    return 0;
}

static int refused(const char *what, const struct sockaddr *address)
{
    char shown[INET6_ADDRSTRLEN] = "";
    if (!is_far(address, shown, sizeof shown))
        return 0;
    tell(what, shown);
    errno = ENETUNREACH;
    return 1;
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return refused("connect", address) ? -1 : REAL(connect)(fd, address, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address,
               socklen_t length)
{
    return refused("sendto", address) ? -1 : REAL(sendto)(fd, data, size, flags, address, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return refused("sendmsg", message->msg_name) ? -1 : REAL(sendmsg)(fd, message, flags);
}

/* A name that has to be asked of somebody. */
static int is_name(const char *node)
{
    unsigned char ip[sizeof(struct in6_addr)];
    return node && *node && strcmp(node, "localhost") && inet_pton(AF_INET, node, ip) != 1
        && inet_pton(AF_INET6, node, ip) != 1;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    if (is_name(node)) {
        tell("lookup", node);
        return EAI_AGAIN;
    }
    return REAL(getaddrinfo)(node, service, hints, found);
}

struct hostent *gethostbyname(const char *node)
{
    if (is_name(node)) {
        tell("lookup", node);
        h_errno = TRY_AGAIN;
        return NULL;
    }
    return REAL(gethostbyname)(node);
}
