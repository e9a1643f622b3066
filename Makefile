# Everything that one does often, one command each. `make` alone lists them.

.DEFAULT_GOAL := help
SHELL := /bin/bash
FUZZTIME ?= 3s

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: ## run everything in one process
	go run ./services/chatmesh

test: deps build lint unit fuzz web e2e browser ## the whole check, as on a fresh machine

deps: ## install what the tests need and Go does not bring: npm packages, a browser
	@scripts/deps

build: ## build everything, with the workspace and without it
	go build ./...
	cd e2e && go vet ./...
	GOWORK=off go build ./...
	cd e2e && GOWORK=off go vet ./...

lint: ## formatting, vet, staticcheck
	@out=$$(gofmt -l pkg services e2e web/*.go); [ -z "$$out" ] || { echo "not formatted: $$out"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

unit: ## tests beside the code, with the race detector
	go test -race -timeout 10m ./...

e2e: ## stories over the real binary, with the race detector
	cd e2e && go test -race -timeout 15m ./...

fuzz: ## every fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

web: ## check the page: types, lint, unit tests, and that web/dist is what the sources build
	cd web && npm test
	scripts/web-dist check

web-dist: ## build the page into web/dist
	scripts/web-dist build

browser: ## two people chat in a real browser
	scripts/browser

soak: ## 300 rounds of faults under load, judged by the independent checker
	cd e2e && go test -race -timeout 90m -run TestSoak -rounds=300 -v .

powerloss: ## cut the power of a file system under load (needs root, ext4 and loop devices)
	cd e2e && go test -race -tags powerloss -timeout 10m -run PowerCut -v .

bench: ## what group commit is worth, and the store's figures
	go test -run '^$$' -bench Append ./pkg/chatlog
	go test -run '^$$' -bench . ./pkg/store/...

measure: ## delivery latency and memory of idle connections, printed
	cd e2e && go test -tags measure -timeout 10m -run TestMeasure -v .

.PHONY: help run test deps build lint unit e2e fuzz web web-dist browser soak powerloss bench measure
