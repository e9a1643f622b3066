package peer

// All are the systems that are compared, in the order of tables.
func All() []System {
	return []System{
		Chatmesh(),
		ChatmeshUnsynced(),
		ChatmeshR3(),
		HubLean(),
		HubPlain(),
		JetStreamSingle(),
		Centrifuge(),
		Ejabberd(),
		Mosquitto(),
		SocketIO(),
	}
}
