// barerelay CALLS MAP: the least that a relay in user space can do, as the limit of this machine: two sockets per call,
// epoll, recvfrom and sendto, and nothing known of RTP. What comes for A's side goes to 127.0.0.3:40001, what comes for B's
// to 127.0.0.2:40000, where rtpgen is. Writes a line "portForA portForB" per call to MAP and relays until it is killed.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int bound(int *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) || getsockname(fd, (struct sockaddr *)&address, &length)) fail("socket");
  *port = ntohs(address.sin_port);
  return fd;
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  int calls = atoi(arguments[1]), epoll = epoll_create1(0), port;
  int *fds = calloc(2 * (size_t)calls, sizeof *fds);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  struct sockaddr_in to[2] = {{.sin_family = AF_INET, .sin_port = htons(40001)}, {.sin_family = AF_INET, .sin_port = htons(40000)}};
  inet_pton(AF_INET, "127.0.0.3", &to[0].sin_addr);
  inet_pton(AF_INET, "127.0.0.2", &to[1].sin_addr);
  FILE *map = fopen(arguments[2], "w");
  if (!map || !fds) fail("map");
  for (int place = 0; place < 2 * calls; place++) {
    fds[place] = bound(&port);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (unsigned)place};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[place], &event)) fail("epoll");
    fprintf(map, place % 2 ? "%d\n" : "%d ", port);
  }
  fclose(map);
  for (;;) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, -1);
    for (int one = 0; one < ready; one++) {
      static char packet[2048];
      unsigned place = events[one].data.u32;
      struct sockaddr_storage from;
      socklen_t length = sizeof from;
      ssize_t octets = recvfrom(fds[place], packet, sizeof packet, 0, (struct sockaddr *)&from, &length);
      if (octets > 0) sendto(fds[place ^ 1], packet, (size_t)octets, 0, (struct sockaddr *)&to[place & 1], sizeof to[0]);
    }
  }
}
