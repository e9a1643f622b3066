package report

// systems in the order of tables and plots: ours, the floor, then the others.
var systems = []string{"chatmesh", "chatmesh-unsynced", "chatmesh-r3", "chatmesh-cql", "hub-lean", "hub-plain", "jetstream-single", "centrifuge",
	"ejabberd-pg", "mosquitto", "socketio", "pebble-bare", "gocql-bare"}

// section is a table: the figures that belong together.
type section struct {
	title   string
	figures []column
}

// column is a figure of a table.
type column struct{ name, title string }

// sections are all tables. A figure that is in none of them stands in the last table, by its name.
var sections = []section{
	{"Messages in pairs", []column{
		{"rate2000_p50_ms", "p50 ms at 2,000 msg/s"},
		{"rate2000_p99_ms", "p99 ms at 2,000 msg/s"},
		{"pairs_max_w1_per_s", "most msg/s, 1 in flight"},
		{"pairs_max_w16_per_s", "most msg/s, 16 in flight"},
		{"cpu_us_per_delivery_w16", "server CPU µs per delivery"},
	}},
	{"A group of 100", []column{
		{"group100_deliveries_per_s", "most deliveries/s, one sender"},
		{"group100_p99_ms", "p99 ms at 20 msg/s"},
	}},
	{"A mixed day, and coming back", []column{
		{"mixed_p99_ms", "p99 ms of a mixed day"},
		{"mixed_cpu_us_per_delivery", "server CPU µs per delivery"},
		{"catchup_s", "s until a device has what it missed in 200 chats"},
	}},
	{"People who are connected", []column{
		{"idle_kb_per_user", "KB of the server, idle"},
		{"idle_kernel_kb_per_user", "KB of the kernel, idle"},
		{"connect_storm_s", "s until 18,000 are welcomed"},
		{"connect_storm_50k_s", "s until 50,000 are, on three edges"},
	}},
	{"History", []column{
		{"history_page_p50_ms", "p50 ms, page of 50 of 1,000,000 over HTTP"},
		{"history_page_p99_ms", "p99 ms, page of 50 of 1,000,000 over HTTP"},
		{"history_page_small_p99_ms", "p99 ms, chat of 10 over HTTP"},
		{"history_page_store_p99_ms", "p99 ms, page of 50 of 1,000,000 from the store"},
		{"history_page_store_p50_ms", "p50 ms of the same"},
		{"history_page10_large_p50_ms", "p50 ms, page of 10 of 1,000,000"},
		{"history_page10_small_p50_ms", "p50 ms, page of 10 of 10"},
		{"history_cql_events", "events of the large chat on CQL"},
	}},
	{"Growth", []column{
		{"growth_chats_ratio", "× most over least cost of a message, 1,000 chats and more"},
		{"growth_chats_busy_few_ratio", "× of the same where few chats are busy"},
		{"growth_connections_ratio", "× most over least cost of a message, 100 to 18,000 connections"},
		{"restart_s", "s to start again with all chats"},
		{"disk_per_chat_bytes", "B of disk a chat"},
		{"disk_per_message_bytes", "B of disk a message"},
	}},
	{"Persister", []column{
		{"persister_per_s", "events/s into the store"},
		{"persister_write_per_s", "events/s in the store's writes alone"},
		{"persister_cpu_us_per_event", "CPU µs per event, broker included"},
		{"persister_catchup_per_s", "events/s behind an outage, while 2,000/s come"},
		{"persister_live_per_s", "events/s that come meanwhile"},
	}},
	{"Presence", []column{
		{"presence_core_percent", "% of a core, 100,000 people with heartbeats"},
		{"presence_change_p50_ms", "p50 ms until a change is seen"},
		{"presence_change_p99_ms", "p99 ms until a change is seen"},
	}},
}

// names are those of all figures of the catalog, in order.
func names() []string {
	var all []string
	for _, s := range sections {
		for _, c := range s.figures {
			all = append(all, c.name)
		}
	}
	return all
}

// lookup finds a figure of a system.
type lookup struct{ r Results }

func (l lookup) figure(name, system string) (Figure, bool) {
	for _, f := range l.r.Figures {
		if f.Name == name && f.System == system {
			return f, true
		}
	}
	return Figure{}, false
}

func (l lookup) value(name, system string) (float64, bool) {
	f, ok := l.figure(name, system)
	return f.Value, ok
}

// of are the figures of one name, in the order of the systems; their systems.
func (l lookup) of(name string) []Figure {
	var out []Figure
	for _, f := range ordered(l.r).Figures {
		if f.Name == name {
			out = append(out, f)
		}
	}
	return out
}
