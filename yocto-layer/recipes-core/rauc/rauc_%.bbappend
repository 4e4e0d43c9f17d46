# The upstream unit that marks every boot good would end each trial before the image has counted a single event:
# aquasmart-mark-good.service is the only one here. Bundles are fetched by the station's own agent, over its own pinned
# connection, so RAUC itself needs no network.
RRECOMMENDS:${PN}:remove:aquasmart = "${PN}-mark-good"
PACKAGECONFIG:remove:aquasmart = "network streaming gpt"
