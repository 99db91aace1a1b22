"""Workers that step alone and meet now and then: LocalSGD, DiLoCo, elastic averaging."""
