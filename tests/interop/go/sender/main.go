// Command sender sends events with go-lumber's own client and prints what that took as one JSON line:
//
//	{"events": 10, "acked": 10, "windows": 1, "seconds": 0.1, "cpu_seconds": 0.2, "error": ""}
//
// The clock runs from the first send to the last ack, without connecting and without reading the corpus.
// It exits with 1 unless everything was acked.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	lumber "github.com/elastic/go-lumber/client/v2"
)

var (
	host        = flag.String("host", "127.0.0.1:5044", "where to send to")
	events      = flag.Int("events", 0, "make that many events, {\"id\": 0, \"message\": ...}, instead of reading a corpus")
	corpus      = flag.String("corpus", "-", "file of JSON lines to send; - is stdin")
	repeat      = flag.Int("repeat", 1, "send everything that many times")
	window      = flag.Int("window", 2048, "events per window")
	pipeline    = flag.Int("pipeline", 0, "windows in flight with the async client; 0 takes the sync client")
	compression = flag.Int("compression", 3, "zlib level, 0 to 9; 0 sends plain frames")
	encode      = flag.String("encode", "map", "map: encoding/json encodes maps while the clock runs; raw: ready JSON")
	timeout     = flag.Duration("timeout", 30*time.Second, "for connecting, one write, and one read")
	tlsCA       = flag.String("tls-ca", "", "authorities, PEM, that must have signed the server's certificate; turns TLS on")
)

type report struct {
	Events     int     `json:"events"`
	Acked      int     `json:"acked"`
	Windows    int     `json:"windows"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	Error      string  `json:"error"`
}

func main() {
	flag.Parse()
	windows := read()
	options := []lumber.Option{lumber.CompressionLevel(*compression), lumber.Timeout(*timeout)}
	if *encode == "raw" {
		options = append(options, lumber.JSONEncoder(func(event interface{}) ([]byte, error) { return event.([]byte), nil }))
	}
	client, err := lumber.DialWith(dial, *host, options...)
	exitOn(err)

	send := sendSync
	if *pipeline > 0 {
		send = sendAsync
	}
	var report report
	startedAt, startedCPU := time.Now(), cpuSeconds()
	acked, err := send(client, windows)
	report.Seconds, report.CPUSeconds = time.Since(startedAt).Seconds(), cpuSeconds()-startedCPU
	for _, events := range windows {
		report.Events += len(events) * *repeat
	}
	report.Acked, report.Windows = acked, len(windows)**repeat
	if err != nil {
		report.Error = err.Error()
	}
	exitOn(json.NewEncoder(os.Stdout).Encode(report))
	if err != nil {
		os.Exit(1)
	}
}

func sendSync(connection *lumber.Client, windows [][]interface{}) (acked int, err error) {
	client, err := lumber.NewSyncClientWith(connection)
	exitOn(err)
	defer client.Close()
	for i := 0; i < *repeat; i++ {
		for _, events := range windows {
			count, err := client.Send(events)
			acked += count
			if err != nil {
				return acked, err
			}
		}
	}
	return acked, nil
}

func sendAsync(connection *lumber.Client, windows [][]interface{}) (acked int, failure error) {
	client, err := lumber.NewAsyncClientWith(connection, *pipeline)
	exitOn(err)
	var answers sync.WaitGroup
	var lock sync.Mutex
	answered := func(count uint32, err error) {
		lock.Lock()
		defer lock.Unlock()
		acked += int(count)
		if err != nil && failure == nil {
			failure = err
		}
		answers.Done()
	}
send:
	for i := 0; i < *repeat; i++ {
		for _, events := range windows {
			answers.Add(1)
			if client.Send(answered, events) != nil {
				break send // answered was told as well
			}
		}
	}
	answers.Wait()
	client.Close()
	return acked, failure
}

// read returns the events in windows, ready for the client: as maps, or as bytes with --encode raw.
func read() (windows [][]interface{}) {
	var current []interface{}
	add := func(line []byte) {
		if *encode == "raw" {
			current = append(current, line)
		} else {
			event := map[string]interface{}{}
			decoder := json.NewDecoder(bytes.NewReader(line))
			decoder.UseNumber() // float64 would change what is sent
			exitOn(decoder.Decode(&event))
			current = append(current, event)
		}
		if len(current) == *window {
			windows, current = append(windows, current), nil
		}
	}
	for id := 0; id < *events; id++ {
		add([]byte(fmt.Sprintf(`{"id":%d,"message":"event number %d"}`, id, id)))
	}
	if *events == 0 {
		lines := bufio.NewReader(source())
		for {
			line, err := lines.ReadBytes('\n')
			if line = bytes.TrimSpace(line); len(line) > 0 {
				add(line)
			}
			if err == io.EOF {
				break
			}
			exitOn(err)
		}
	}
	if len(current) > 0 {
		windows = append(windows, current)
	}
	return windows
}

func source() io.Reader {
	if *corpus == "-" {
		return os.Stdin
	}
	file, err := os.Open(*corpus)
	exitOn(err)
	return file
}

func dial(network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: *timeout}
	if *tlsCA == "" {
		return dialer.Dial(network, address)
	}
	authorities, err := os.ReadFile(*tlsCA)
	exitOn(err)
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authorities)
	return tls.DialWithDialer(dialer, network, address, config)
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	exitOn(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func exitOn(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
