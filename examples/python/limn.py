"""limn"""
