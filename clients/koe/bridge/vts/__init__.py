"""``koe bridge vts``: the mouth of an avatar in VTube Studio moves with what koed says."""
