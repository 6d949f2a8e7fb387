// junkgen SERVER PORT SOURCE RATE COUNT: so many datagrams a second of what scanners send, cut off before it is SIP.
// Nothing that comes back is read. Prints how many were sent and how many came back.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))}, own = {.sin_family = AF_INET};
  inet_pton(AF_INET, argv[1], &server.sin_addr);
  inet_pton(AF_INET, argv[3], &own.sin_addr);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (bind(fd, (void *)&own, sizeof own)) { perror(argv[3]); return 1; }
  double rate = atof(argv[4]), begin = now();
  long count = atol(argv[5]), sent = 0;
  for (long i = 0; i < count; i++) {
    char text[256];
    int length = snprintf(text, sizeof text, "OPTIONS sip:%ld@%s SIP/2.0\r\nUser-Agent: friendly-scanner\r\nVia: SIP/2.", i, argv[1]);
    sent += sendto(fd, text, length, 0, (void *)&server, sizeof server) == length;
    double early = begin + (i + 1) / rate - now();
    if (early > 0.0005) usleep(early * 1e6);
  }
  char answer[2048];
  long answers = 0;
  while (recv(fd, answer, sizeof answer, MSG_DONTWAIT) > 0) answers++;
  printf("sent %ld answered %ld seconds %.2f\n", sent, answers, now() - begin);
  return 0;
}
