# Everything that one does often, one command each. `make` alone lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash
FUZZTIME ?= 3s

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: ## run everything in one process
	go run ./services/chatmesh

test: deps build lint unit fuzz web ops-check bench-test e2e spread disks browser api-check ## the whole check, as on a fresh machine

deps: ## install what the tests need and Go does not bring: npm packages, a browser, Python environments, a CQL server
	@scripts/deps

build: ## build everything, with the workspace and without it
	go build ./...
	cd e2e && go vet ./... && go vet -tags disks . && go vet -tags measure .
	GOWORK=off go build ./...
	cd e2e && GOWORK=off go vet ./...
	cd bench && go vet ./...

lint: ## formatting, vet, staticcheck
	@out=$$(gofmt -l pkg services docs examples e2e web/*.go); [ -z "$$out" ] || { echo "not formatted: $$out"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

unit: ## tests beside the code, with the race detector
	scripts/with-cql go test -race -timeout 30m ./...

e2e: ## stories over the real binary, with the race detector
	cd e2e && ../scripts/with-cql go test -race -timeout 60m ./...

fuzz: ## every fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

web: ## check the page: types, lint, unit tests, and that web/dist is what the sources build
	cd web && npm test
	scripts/web-dist check

web-dist: ## build the page into web/dist
	scripts/web-dist build

browser: ## two people chat in a real browser
	scripts/browser

api-check: ## hold the running program against docs/openapi.yaml with schemathesis
	scripts/schemathesis

ops-check: ## promtool: the alerts are checked and played, the dashboard's queries parsed
	@scripts/ops-check

compose-secrets: ## keys, certificates and passwords for compose.yaml, into secrets; makes what is missing
	@scripts/compose-secrets

soak: ## 300 rounds of faults under load, judged by the independent checker
	cd e2e && go test -race -timeout 90m -run TestSoak -rounds=300 -stall 20s -v .

OUTAGE ?= 1h
RATE ?= 100
outage: ## the database is away for OUTAGE under RATE messages a second, on a mesh of many processes
	cd e2e && go test -timeout 3h -run TestTheDatabaseMayBeAway -outage $(OUTAGE) -outage-rate $(RATE) -outage-times 3 -v .

rolling: ## a rolling restart of every process under load delays nothing by more than 5 s
	cd e2e && go test -timeout 10m -run TestARolling -rolling-stall 5s -v .

spread: ## the stories that share a program, over three brokers, a database and two of each service
	cd e2e && go test -race -timeout 40m -spread -run "^($$(grep -l 'server(t)' *_test.go | xargs grep -ho '^func Test[A-Za-z0-9_]*' | sed 's/func //' | paste -sd'|'))\$$" .

disks: ## a disk that loses its power under load, one that fills (needs root to mount them, ext4 and loop devices)
	@if [ "$$(id -u)" = 0 ]; then cd e2e && go test -race -tags disks -timeout 20m -run 'PowerCut|FullDisk' -v .; \
	else echo "disks: NOT RUN: mounting file systems needs root"; fi

cql-up: ## a CQL server on 127.0.0.1:9042, for a mesh on this machine; its state is under data/cql
	scripts/cql start data/cql

cql-down: ## end that CQL server
	scripts/cql stop data/cql

ROUNDS ?= 2
bench: ## chatmesh and its peers side by side: ROUNDS interleaved rounds, into bench/results and docs; then capacity
	go run ./bench --rounds $(ROUNDS) --document
	$(MAKE) capacity

bench-test: ## the bench works: its tests, with a small run
	cd bench && go test -timeout 30m ./...

growth: ## the cost of a message from 1,000 to 1,000,000 chats: about 10 min, 4 GB of memory and of disk
	go run ./bench --growth long --out bench/results/growth

capacity: ## take the costs of the last bench over into the plan, and write the tables of docs/capacity.md anew
	go test ./pkg/capacity -run 'LastBench|StandInTheirFile|KeepsItsFields' -update
	go test ./services/chatmesh -run Capacity -update

microbench: ## what group commit is worth, and the store's figures
	go test -run '^$$' -bench Append ./pkg/chatlog
	go test -run '^$$' -bench . ./pkg/store/...

POLLERS ?= 5000
pollers: ## so many pollers and as many WebSockets in the same 20 groups; memory of a poller, printed. make e2e has 200 of each
	cd e2e && go test -timeout 15m -run TestPollersAndSockets -pollers $(POLLERS) -v .

measure: ## delivery latency and memory of idle connections, printed
	cd e2e && go test -tags measure -timeout 10m -run TestMeasure -v .

.PHONY: help run test deps build lint unit e2e fuzz web web-dist browser api-check ops-check compose-secrets soak outage pollers rolling spread disks cql-up cql-down bench growth capacity measure
