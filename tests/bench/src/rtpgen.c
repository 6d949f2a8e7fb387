// rtpgen: paced RTP for N relayed calls at once, both ways, and the sink that counts what arrives.
//
// A call has two legs. What is sent from -A (port 40000) to the relay's port for the caller comes out of the relay towards
// -B (port 40001), and the other way round. One socket per side serves all calls, so that the generator can batch and
// stays cheaper than what it measures. Packets of one frame are spread over its 20 ms. Each payload begins with the time
// it was sent, so delays are one-way.
//
//   rtpgen -f FILE -n CALLS -d SECONDS [-A CALLER] [-B CALLEE] [-R RELAY]
//     FILE: lines "PORT_FOR_CALLER PORT_FOR_CALLEE", as sipgen -m writes them
//
// Prints one line of "name value" pairs: packets, loss in percent, delays in microseconds, own CPU, calls that one side
// of which heard less than 99 % of what was sent.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CALLER_RTP = 40000, CALLEE_RTP = 40001, BATCH = 64, HEADER = 12, PAYLOAD = 160, SLOTS = 20, BUCKETS = 64 * 32 };
// Payload: 8 octets of time, 4 of the call's index, then noise.
enum { TIME_AT = HEADER, INDEX_AT = HEADER + 8, SHORTEST = HEADER + 12 };

struct side {
  int fd;
  uint16_t *relay_port;
  _Atomic int *heard; // packets per call
};

static struct side sides[2];
static int count = 100, seconds = 10;
static const char *host[2] = {"127.0.0.1", "127.0.0.1"}, *relay = "127.0.0.1", *map_file;
static _Atomic long sent, received, histogram[BUCKETS], slowest;
static _Atomic int stop;
static uint32_t run;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int bound(const char *address, int port) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 16 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  struct timeval patience = {0, 100000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, address, &a.sin_addr);
  if (bind(fd, (void *)&a, sizeof a)) { perror(address); exit(1); }
  return fd;
}

// Buckets of 1/32 of their power of two.
static void record(int64_t us) {
  if (us < 0) us = 0;
  if (us > slowest) slowest = us;
  int exponent = us < 32 ? 0 : 63 - __builtin_clzll(us) - 4;
  histogram[exponent * 32 + (us < 32 ? us : (us >> exponent) & 31)]++;
}

static double percentile(double p) {
  long total = 0, sum = 0;
  for (int i = 0; i < BUCKETS; i++) total += histogram[i];
  for (int i = 0; i < BUCKETS; i++)
    if ((sum += histogram[i]) > total * p) return i / 32 ? (double)((int64_t)(i % 32) << (i / 32)) : i % 32;
  return -1;
}

static void take(struct side *side, const unsigned char *packet, unsigned length, int64_t t) {
  uint32_t index;
  int64_t at;
  int type = packet[1] & 0x7f;
  if (length < SHORTEST || packet[0] >> 6 != 2 || (type >= 72 && type <= 79)) return; // RTCP
  memcpy(&index, packet + INDEX_AT, sizeof index);
  memcpy(&at, packet + TIME_AT, sizeof at);
  if (index >= (uint32_t)count || t < at || t - at > 10000000000LL) return; // not of this run
  side->heard[index]++;
  received++;
  record((t - at) / 1000);
}

static void *sink(void *arg) {
  struct side *side = arg;
  static _Thread_local unsigned char buffer[BATCH][2048];
  struct mmsghdr message[BATCH] = {0};
  struct iovec io[BATCH];
  for (int i = 0; i < BATCH; i++) {
    io[i] = (struct iovec){buffer[i], sizeof buffer[i]};
    message[i].msg_hdr.msg_iov = &io[i];
    message[i].msg_hdr.msg_iovlen = 1;
  }
  while (!stop) {
    int got = recvmmsg(side->fd, message, BATCH, MSG_WAITFORONE, NULL);
    int64_t t = now();
    for (int i = 0; i < got; i++) take(side, buffer[i], message[i].msg_len, t);
  }
  return NULL;
}

static void fill(unsigned char *packet, int call, int side, uint32_t frame) {
  uint32_t timestamp = htonl(frame * PAYLOAD), ssrc = htonl((side + 1) << 28 | (call + run)), index = call;
  int64_t t = now();
  packet[0] = 0x80;
  packet[1] = 0;
  packet[2] = (frame + 1) >> 8;
  packet[3] = frame + 1;
  memcpy(packet + 4, &timestamp, 4);
  memcpy(packet + 8, &ssrc, 4);
  memcpy(packet + TIME_AT, &t, sizeof t);
  memcpy(packet + INDEX_AT, &index, sizeof index);
  for (int i = SHORTEST; i < HEADER + PAYLOAD; i++) packet[i] = (unsigned char)(frame * 7 + i * 13);
}

static void flush(int fd, struct mmsghdr *message, int n) {
  for (int done = 0; done < n;) {
    int r = sendmmsg(fd, message + done, n - done, 0);
    if (r > 0) { done += r; sent += r; }
    else if (errno != EINTR && errno != ECONNREFUSED) done++;
  }
}

// Every SLOTS-th call from `slot` on, one packet each way.
static void send_slot(int slot, uint32_t frame, struct in_addr to) {
  static unsigned char buffer[2][BATCH][HEADER + PAYLOAD];
  static struct mmsghdr message[2][BATCH];
  static struct iovec io[2][BATCH];
  static struct sockaddr_in address[2][BATCH];
  int n = 0;
  for (int call = slot; call < count; call += SLOTS) {
    for (int s = 0; s < 2; s++) {
      fill(buffer[s][n], call, s, frame);
      io[s][n] = (struct iovec){buffer[s][n], HEADER + PAYLOAD};
      address[s][n] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(sides[s].relay_port[call]), .sin_addr = to};
      message[s][n].msg_hdr = (struct msghdr){.msg_name = &address[s][n], .msg_namelen = sizeof address[s][n], .msg_iov = &io[s][n], .msg_iovlen = 1};
    }
    if (++n < BATCH && call + SLOTS < count) continue;
    for (int s = 0; s < 2; s++) flush(sides[s].fd, message[s], n);
    n = 0;
  }
}

static void read_map(void) {
  FILE *f = map_file ? fopen(map_file, "r") : NULL;
  if (!f) { perror("-f"); exit(1); }
  for (int s = 0; s < 2; s++) {
    sides[s].relay_port = calloc(count, sizeof *sides[s].relay_port);
    sides[s].heard = calloc(count, sizeof *sides[s].heard);
  }
  for (int i = 0; i < count; i++) {
    int a, b;
    if (fscanf(f, "%d %d", &a, &b) != 2) { count = i; break; }
    sides[0].relay_port[i] = a;
    sides[1].relay_port[i] = b;
  }
  fclose(f);
}

static int deaf_calls(void) {
  int deaf = 0, wanted = seconds * 50 * 99 / 100;
  for (int i = 0; i < count; i++) deaf += sides[0].heard[i] < wanted || sides[1].heard[i] < wanted;
  return deaf;
}

int main(int argc, char **argv) {
  for (int o; (o = getopt(argc, argv, "f:n:d:A:B:R:")) > 0;) switch (o) {
    case 'f': map_file = optarg; break;
    case 'n': count = atoi(optarg); break;
    case 'd': seconds = atoi(optarg); break;
    case 'A': host[0] = optarg; break;
    case 'B': host[1] = optarg; break;
    case 'R': relay = optarg; break;
    default: return 2;
  }
  run = (uint32_t)getpid() << 14 & 0x0fffc000;
  read_map();
  struct in_addr to;
  inet_pton(AF_INET, relay, &to);
  pthread_t thread[2];
  for (int s = 0; s < 2; s++) {
    sides[s].fd = bound(host[s], s ? CALLEE_RTP : CALLER_RTP);
    pthread_create(&thread[s], NULL, sink, &sides[s]);
  }
  int64_t begin = now(), late = 0;
  for (long tick = 0; tick < seconds * 50L * SLOTS; tick++) {
    int64_t due = begin + tick * 1000000LL, delay = now() - due;
    if (delay > late) late = delay;
    struct timespec at = {due / 1000000000LL, due % 1000000000LL};
    if (delay < 0) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    send_slot(tick % SLOTS, tick / SLOTS, to);
  }
  double took = (now() - begin) / 1e9;
  usleep(300000);
  stop = 1;
  for (int s = 0; s < 2; s++) pthread_join(thread[s], NULL);
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  double cpu_us = (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
  printf("calls %d sent %ld received %ld lost_pct %.3f deaf %d p50_us %.0f p99_us %.0f max_us %ld own_cpu_us %.2f late_ms %.1f seconds %.2f\n",
    count, sent, received, sent ? 100.0 * (sent - received) / sent : 0, deaf_calls(), percentile(.5), percentile(.99), slowest,
    sent ? cpu_us / sent : 0, late / 1e6, took);
  return 0;
}
