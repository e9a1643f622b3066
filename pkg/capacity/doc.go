// Package capacity owns the arithmetic from a load and the measured cost of each thing to machines, memory, disk and bandwidth, and to
// what breaks first as the load grows. It promises that more people never need fewer machines, that every figure names where it was
// measured, and that each says by how far it is carried beyond what was measured.
//
//	Load ──┐
//	Costs ─┼─► New ─► Plan: rates, tiers of machines, limits, how far each cost is extrapolated
//	Assumptions (from package sim, and of machines)
//
// Nothing here asks a network, a clock or chance.
package capacity
