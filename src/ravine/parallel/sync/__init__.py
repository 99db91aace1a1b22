"""Workers that step alone and exchange weights now and then: LocalSGD, DiLoCo, elastic averaging."""
